//! What the kernel and its tools take, in one table: the limit, whose it is, since when it is
//! known, and where it stands.
//!
//! Absent: what palisade does where a limit is reached.

/// Bytes of a chain's name: `XT_EXTENSION_MAXNAMELEN` 29 less the end mark
/// (linux/netfilter/x_tables.h).
pub const CHAIN_NAME: usize = 28;

/// Bytes of a set's name: `IPSET_MAXNAMELEN` 32 less the end mark
/// (linux/netfilter/ipset/ip_set.h).
pub const SET_NAME: usize = 31;

/// Jumps and gotos that may nest below a base chain: `NFT_JUMP_STACK_SIZE` 16 less the base chain
/// (net/netfilter/nf_tables.h).
pub const DEPTH: usize = 15;

/// Slots of a `multiport` match; a range takes two: `XT_MULTI_PORTS`
/// (linux/netfilter/xt_multiport.h).
pub const MULTIPORT_SLOTS: usize = 15;

/// Bytes of a rule's comment: `XT_MAX_COMMENT_LEN` 256 less the end mark
/// (linux/netfilter/xt_comment.h).
pub const COMMENT: usize = 255;

/// Bytes of a log prefix: 30 in `struct xt_log_info` less the end mark
/// (linux/netfilter/xt_LOG.h).
pub const LOG_PREFIX: usize = 29;

/// Bytes of an interface's name: `IFNAMSIZ` 16 less the end mark (linux/if.h).
pub const INTERFACE: usize = 15;

/// Bytes of a line for iptables-restore, without its newline. Both builds read lines with
/// `fgets` into 10,240 bytes, the end mark and the newline among them, and take the rest of a
/// longer line for the next one (iptables 1.8.9, `buffer` in iptables/iptables-restore.c and
/// iptables/xtables-restore.c; the same since 1.2.1).
pub const IPTABLES_LINE: usize = 10_238;

/// Words of a line for iptables-restore: `MAX_ARGC` 255, less the end mark, the name of the
/// program, and `-t` with the table (iptables 1.8.9, `add_argv` in iptables/xshared.c).
pub const IPTABLES_WORDS: usize = 251;

/// Bytes of a word for iptables-restore: `struct xt_param_buf` has 1,024, the end mark among them
/// (iptables 1.8.9, `add_param` in iptables/xshared.c).
pub const IPTABLES_WORD: usize = 1_023;

/// Bytes of a line for ipset, without its newline: `MAX_CMDLINE_CHARS` 1,024, the end mark and
/// the newline among them. The rest of a longer line is the next command (ipset 7.17,
/// `ipset_parse_stream` in lib/ipset.c; the same in src/ipset.c of 6.x).
pub const IPSET_LINE: usize = 1_022;

/// Bytes of a comment line that we write: well below [`IPSET_LINE`] and [`IPTABLES_LINE`].
pub const COMMENT_LINE: usize = 960;

/// Fewest hash buckets of a set: `IPSET_MIMINAL_HASHSIZE`, to which the kernel raises any smaller
/// number (net/netfilter/ipset/ip_set_hash_gen.h).
pub const LEAST_HASHSIZE: u32 = 64;

/// Elements that we let a set have. ipset takes more, at some 40 bytes of kernel memory each
/// (projectcalico/calico#4069).
pub const SET_ELEMENTS: usize = 1 << 20;

/// Elements that we let all sets of a node have together, each port of a range counted. Reading
/// a bundle takes some 40 bytes for each.
pub const ALL_ELEMENTS: usize = 1 << 22;
