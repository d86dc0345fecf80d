//! The table of diagnostic codes.
//!
//! The file `entries/CODE.md` documents a code. `palisade help CODE` prints it, and
//! `docs/diagnostics.md` and `docs/lints.md` are made from these files. A code without an entry
//! does not compile.

use std::fmt;

use crate::diagnostic::Severity;

macro_rules! codes {
    ($($variant:ident $name:literal $severity:ident $description:literal)*) => {
        /// The stable code of a kind of problem. A code never changes its meaning; new kinds of
        /// problem get new codes.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Code {
            $(#[doc = $description] $variant,)*
        }

        impl Code {
            /// Every code, in table order.
            pub const ALL: &'static [Code] = &[$(Code::$variant),*];

            /// The code as users see it.
            pub fn name(self) -> &'static str {
                match self { $(Code::$variant => $name,)* }
            }

            /// The severity of this code.
            pub fn severity(self) -> Severity {
                match self { $(Code::$variant => Severity::$severity,)* }
            }

            /// A one-line description.
            pub fn description(self) -> &'static str {
                match self { $(Code::$variant => $description,)* }
            }

            /// Explanation, example and fix, as Markdown in three parts. The second part begins
            /// with a line `Example:`, the third with a line `Fix:`.
            pub fn entry(self) -> &'static str {
                match self {
                    $(Code::$variant => include_str!(concat!("entries/", $name, ".md")),)*
                }
            }

            /// Returns the code with this name, or `None` if no code has it.
            pub fn by_name(name: &str) -> Option<Code> {
                Code::ALL.iter().copied().find(|code| code.name() == name)
            }
        }
    };
}

codes! {
    // reading
    Unreadable          "unreadable"            Error   "a file or directory cannot be read"
    NotUtf8             "not-utf-8"             Error   "a file is not UTF-8 text"
    TooLarge            "too-large"             Error   "a file or YAML document is larger than Palisade reads"
    NoObjects           "no-objects"            Error   "an input holds no object at all"
    NeedsBuild          "needs-build"           Error   "a kustomization or chart, whose files are no manifests before they are built"
    YamlSyntax          "yaml-syntax"           Error   "the text is not YAML, or uses a part of YAML that manifests have no use for"
    JsonSyntax          "json-syntax"           Error   "the text is not JSON"
    NestingTooDeep      "nesting-too-deep"      Error   "mappings and lists are nested deeper than any manifest needs"
    AliasExpansion      "alias-expansion"       Error   "aliases repeat content beyond any manifest's size"
    DuplicateField      "duplicate-field"       Error   "a mapping has the same key twice"
    // shape
    NotAnObject         "not-an-object"         Error   "a document is not a Kubernetes object"
    IncompleteList      "incomplete-list"       Error   "a list of which only the first part was fetched"
    UnsupportedKind     "unsupported-kind"      Error   "a policy kind or API version that Palisade does not compile"
    UnsupportedField    "unsupported-field"     Error   "a policy field that Palisade does not compile yet"
    UnknownField        "unknown-field"         Error   "a field that the kind does not have"
    MissingField        "missing-field"         Error   "a required field is absent"
    WrongType           "wrong-type"            Error   "a value of another type than the field takes"
    InvalidValue        "invalid-value"         Error   "a value outside what the field takes"
    TooLong             "too-long"              Error   "a list or text that is longer than Calico takes"
    RepeatedValue       "repeated-value"        Error   "a value that a list has twice, where it may stand once"
    // values
    InvalidName         "invalid-name"          Error   "a name that Kubernetes does not allow"
    InvalidLabel        "invalid-label"         Error   "a label key or value that Kubernetes does not allow"
    InvalidAddress      "invalid-address"       Error   "not an IP address"
    InvalidCidr         "invalid-cidr"          Error   "not a CIDR, or one with host bits"
    InvalidPort         "invalid-port"          Error   "not a port, port range or port name"
    InvalidProtocol     "invalid-protocol"      Error   "not a protocol name or number"
    SelectorSyntax      "selector-syntax"       Error   "a selector that does not parse"
    SelectorGlobal      "selector-global"       Error   "`global()` where it has no meaning"
    // objects and rules
    DuplicateObject     "duplicate-object"      Error   "two different objects with one name"
    DuplicateAddress    "duplicate-address"     Error   "two live endpoints with one address"
    UnknownTier         "unknown-tier"          Error   "a policy names a tier that does not exist"
    FixedTier           "fixed-tier"            Error   "a built-in tier with other values than Calico fixes"
    ReservedProfile     "reserved-profile"      Error   "a profile with the name of one that Calico makes"
    PortsNeedProtocol   "ports-need-protocol"   Error   "ports without a protocol that has ports"
    IcmpNeedsProtocol   "icmp-needs-protocol"   Error   "an ICMP match without an ICMP protocol"
    ExtensionHeader     "extension-header"      Error   "a rule that would miss packets by a number that IPv6 has as an extension header"
    MixedFamilies       "mixed-families"        Error   "addresses or a protocol of another family than the rest of the rule"
    ExceptsEverything   "excepts-everything"    Error   "an exception that leaves nothing"
    ConflictingFields   "conflicting-fields"    Error   "fields that exclude each other"
    // output
    NameCollision       "name-collision"        Error   "two different objects would get one kernel name"
    SetTooLarge         "set-too-large"         Error   "a set would hold more members than the limit"
    UnknownNode         "unknown-node"          Error   "a node that is not in the inventory"
    MissingEndpoints    "missing-endpoints"     Error   "a bundle, a list or a comparison about no endpoint at all"
    NoNodes             "no-nodes"              Error   "the inventory has no node to render for"
    InvalidTemplate     "invalid-template"      Error   "a template that does not render, or leaves a part of the script out"
    InvalidConfig       "invalid-config"        Error   "the configuration file cannot be used"
    Unwritable          "unwritable"            Error   "the output cannot be written"
    NotABundle          "not-a-bundle"          Error   "the output directory holds something else than a bundle"
    NotProven           "not-proven"            Error   "what was rendered decides a packet otherwise than the policies do"
    ChainsTooDeep       "chains-too-deep"       Error   "chains nest deeper than nf_tables takes"
    UnenforceableList   "unenforceable-list"    Error   "policy of a host endpoint that its node's kernel cannot be told as it is meant"
    // questions
    UnknownEndpoint     "unknown-endpoint"      Error   "an endpoint, service account or namespace that is not in the input"
    NotARepository      "not-a-repository"      Error   "a revision is named where there is no git repository"
    UnknownRevision     "unknown-revision"      Error   "a revision that the git repository does not have"
    NotInRevision       "not-in-revision"       Error   "a path that a revision of the git repository does not have"
    NoAnswer            "no-answer"             Error   "a question that no packet can be asked about, or too many"
    InternalError       "internal-error"        Error   "two parts of Palisade disagree: a mistake in Palisade"
    // nodes
    BundleFormat        "bundle-format"         Error   "a bundle of another format than this version reads"
    BundlePath          "bundle-path"           Error   "a bundle whose index names what no bundle has"
    BundleDamaged       "bundle-damaged"        Error   "a bundle with scripts that are missing, cut, changed or none of Palisade's"
    BundleStaged        "bundle-staged"         Error   "a bundle with staged policies in force, which is a proposal"
    BundleOfOthers      "bundle-of-others"      Error   "a bundle that has nothing for this node"
    NodeBusy            "node-busy"             Error   "somebody else is changing the node, or waits for a confirmation"
    KernelRefused       "kernel-refused"        Error   "the kernel or one of its tools refuses, or its answer is not whole"
    ToolMissing         "tool-missing"          Error   "a program that applies scripts is not installed"
    OtherBackend        "other-backend"         Error   "the other build of iptables holds chains of ours"
    NotSettled          "not-settled"           Error   "somebody else changes what is applied, again and again"
    NoWayBack           "no-way-back"           Error   "an apply that is to be confirmed, over a state that was not applied"
    RolledBack          "rolled-back"           Error   "an apply that was to be confirmed went wrong, and was taken back"
    // lints
    SelectorContradiction "selector-contradiction" Lint "a selector that can never match anything"
    SelectorMatchesNothing "selector-matches-nothing" Lint "a selector that matches nothing in today's inventory"
    ReservedLabel       "reserved-label"        Lint    "a reserved label in a kind of selector where nothing has it"
    EmptyPeer           "empty-peer"            Lint    "an allow rule whose sender or receiver is nobody today"
    ShadowedRule        "shadowed-rule"         Lint    "a rule that decides nothing, because an earlier one of its policy takes all of its packets"
    UnusedRules         "unused-rules"          Lint    "rules of a direction that the policy's types leave out"
    LogOnly             "log-only"              Lint    "a policy that only logs, and so denies everything"
    PassOnly            "pass-only"             Lint    "a policy of the last tier that only passes, and denies the rest"
    NoDns               "no-dns"                Lint    "endpoints whose egress is isolated, and that may ask no DNS server"
    NotSelectorAlone    "not-selector-alone"    Lint    "`notSelector` alone in a namespaced policy, where it means its own namespace only"
    HttpWithoutMesh     "http-without-mesh"     Lint    "HTTP conditions, which only a mesh enforces; iptables allows more"
    DefaultServiceAccount "default-service-account" Lint "the service account `default`, which every pod has that names none, among rules by service account"
    NoPolicies          "no-policies"           Lint    "an input without any policy, which denies nothing"
    // remarks
    EntriesKept         "entries-kept"          Warning "entries that came into a bundle's directory while it was replaced, and were kept"
    HostEndpointByAddress "host-endpoint-by-address" Warning "a host endpoint without an interface, whose packets are told by their addresses"
    HostEndpointShadowed  "host-endpoint-shadowed"   Warning "a host endpoint of a place where another one comes first"
    NullRule            "null-rule"             Warning "a rule of a Kubernetes policy that is null, and so allows everything"
    HiddenManifests     "hidden-manifests"      Warning "manifests that are not read, because the names of their files begin with a dot"
    InternalApi         "internal-api"          Warning "an object of Calico's internal API group"
    AddressGivenUp      "address-given-up"      Note    "a pod that is being deleted gives up an address that another endpoint has"
    NoEndpoints         "no-endpoints"          Note    "policies, and no endpoint that they could apply to"
    Unpoliced           "unpoliced"             Note    "an answer about an input without any policy"
    UnknownNamespace    "unknown-namespace"     Note    "a namespace that is not in the input has no labels"
    UnknownServiceAccount "unknown-service-account" Note "a service account that is not in the input has no labels"
    UnknownProfile      "unknown-profile"       Note    "a profile that is not in the input denies"
    UnknownService      "unknown-service"       Note    "a service without backends in the input matches nobody"
    HttpNotEnforced     "http-not-enforced"     Note    "HTTP conditions are for a mesh; iptables enforces the rest of the rule"
    StagedPolicies      "staged-policies"       Note    "staged policies are not in force"
    NothingToDelete     "nothing-to-delete"     Note    "a staged policy proposes to delete one that is not in the input"
    SkippedKinds        "skipped-kinds"         Note    "objects of kinds that Palisade does not read"
    SkippedPods         "skipped-pods"          Note    "pods that are no addressable endpoints"
    WorkloadsWithoutAddresses "workloads-without-addresses" Note "workloads whose pods are not in the input have no addresses"
}

impl fmt::Display for Code {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.name())
    }
}
