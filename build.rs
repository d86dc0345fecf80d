//! Generates the selector parser from its grammar.

fn main() {
    lalrpop::Configuration::new()
        .use_cargo_dir_conventions()
        .emit_rerun_directives(true)
        .process()
        .expect("src/selector/grammar.lalrpop is a correct grammar");
}
