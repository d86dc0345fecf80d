//! A [`Plan`](crate::plan::Plan) to the kernel, through one [`Runner`](crate::runner::Runner).
