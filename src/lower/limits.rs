//! What the kernel and its tools take, in one table.

/// Bytes of a chain's name: `XT_EXTENSION_MAXNAMELEN` 29 less the end mark (linux/netfilter/x_tables.h).
pub const CHAIN_NAME: usize = 28;

/// Bytes of a set's name: `IPSET_MAXNAMELEN` 32 less the end mark (linux/netfilter/ipset/ip_set.h).
pub const SET_NAME: usize = 31;

/// Jumps and gotos that may nest below a base chain: `NFT_JUMP_STACK_SIZE` 16 less the base chain (net/netfilter/nf_tables.h).
pub const DEPTH: usize = 15;

/// Slots of a `multiport` match; a range takes two (iptables-extensions(8)).
pub const MULTIPORT_SLOTS: usize = 15;

/// Bytes of a rule's comment: `XT_MAX_COMMENT_LEN` 256 less the end mark (linux/netfilter/xt_comment.h).
pub const COMMENT: usize = 255;

/// Bytes of a log prefix: 30 in `struct xt_log_info` less the end mark (linux/netfilter/xt_LOG.h).
pub const LOG_PREFIX: usize = 29;

/// Elements that we let a set have. ipset takes more, at some 40 bytes of kernel memory each (projectcalico/calico#4069).
pub const SET_ELEMENTS: usize = 1 << 20;

/// Bytes of a comment line that we write. `ipset restore` reads lines of 1,024 bytes and takes the rest of a longer one for
/// the next command (ipset 7.17, `src/ipset.c`), `iptables-restore` does so at 10,240.
pub const COMMENT_LINE: usize = 960;
