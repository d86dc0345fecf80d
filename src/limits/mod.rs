//! Limits of the kernel and its tools, in one table: the limit, where it comes from, since when it
//! is known, and the source file that sets it.
//!
//! Absent: how Palisade reacts when a limit is reached.

/// Bytes of a chain name: `XT_EXTENSION_MAXNAMELEN` 29, minus the terminator
/// (linux/netfilter/x_tables.h).
pub const CHAIN_NAME: usize = 28;

/// Bytes of a set name: `IPSET_MAXNAMELEN` 32, minus the terminator
/// (linux/netfilter/ipset/ip_set.h).
pub const SET_NAME: usize = 31;

/// Nesting depth of jumps and gotos below a base chain: `NFT_JUMP_STACK_SIZE` 16, minus the base
/// chain (net/netfilter/nf_tables.h).
pub const DEPTH: usize = 15;

/// Slots of a `multiport` match; a range takes two: `XT_MULTI_PORTS`
/// (linux/netfilter/xt_multiport.h).
pub const MULTIPORT_SLOTS: usize = 15;

/// Bytes of a rule's comment: `XT_MAX_COMMENT_LEN` 256, minus the terminator
/// (linux/netfilter/xt_comment.h).
pub const COMMENT: usize = 255;

/// Bytes of a log prefix: 30 in `struct xt_log_info`, minus the terminator
/// (linux/netfilter/xt_LOG.h).
pub const LOG_PREFIX: usize = 29;

/// Bytes of an interface name: `IFNAMSIZ` 16, minus the terminator (linux/if.h).
pub const INTERFACE: usize = 15;

/// Bytes of an iptables-restore line, without its newline. Both builds read lines with `fgets` into
/// 10,240 bytes, including the terminator and the newline, and take the rest of a longer line as
/// the next line (iptables 1.8.9, `buffer` in iptables/iptables-restore.c and
/// iptables/xtables-restore.c; the same since 1.2.1).
pub const IPTABLES_LINE: usize = 10_238;

/// Words of an iptables-restore line: `MAX_ARGC` 255, minus the terminator, the program name, and
/// `-t` with the table (iptables 1.8.9, `add_argv` in iptables/xshared.c).
pub const IPTABLES_WORDS: usize = 251;

/// Bytes of a word in an iptables-restore line: `struct xt_param_buf` has 1,024, including the
/// terminator (iptables 1.8.9, `add_param` in iptables/xshared.c).
pub const IPTABLES_WORD: usize = 1_023;

/// Bytes of an ipset line, without its newline: `MAX_CMDLINE_CHARS` 1,024, including the terminator
/// and the newline. The rest of a longer line becomes the next command (ipset 7.17,
/// `ipset_parse_stream` in lib/ipset.c; the same in src/ipset.c of 6.x).
pub const IPSET_LINE: usize = 1_022;

/// Bytes of a comment line in a generated script: well below [`IPSET_LINE`] and [`IPTABLES_LINE`].
pub const COMMENT_LINE: usize = 960;

/// Minimum number of hash buckets of a set: `IPSET_MIMINAL_HASHSIZE`. The kernel raises any smaller
/// number to it (net/netfilter/ipset/ip_set_hash_gen.h).
pub const LEAST_HASHSIZE: u32 = 64;

/// Palisade's limit on the elements of one set. ipset accepts more, at about 40 bytes of kernel
/// memory each (projectcalico/calico#4069).
pub const SET_ELEMENTS: usize = 1 << 20;

/// Palisade's limit on the elements of all sets of a node. Each port of a range counts. Reading a
/// bundle takes about 40 bytes per element.
pub const ALL_ELEMENTS: usize = 1 << 22;
