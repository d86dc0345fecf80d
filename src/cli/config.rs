//! The configuration file, and how flags and variables win over it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::{fs, io};

use clap::Args;
use clap::builder::{PossibleValuesParser, TypedValueParser};
use serde::Deserialize;

use crate::bundle::read_file;
use crate::cli::input;
use crate::diagnostic::{Code, Diagnostic, nearest};
use crate::lint::{self, LINTS, LintLevel, LintLevels};
use crate::options::{
    ChoiceWords, CompileOptions, Encapsulated, EndpointToHost, ExtensionName, ExtensionSet,
    FailsafeList, FailsafePorts, HookPosition, InterfacePattern, SourceValidation, UnknownEndpoint,
};
use crate::render::{TEMPLATES, TemplateSet};

/// Flags about what is rendered.
#[derive(Debug, Args)]
#[command(next_help_heading = "What is rendered")]
pub(super) struct RenderArguments {
    /// What becomes of traffic from endpoints to their node that egress policy allows [default:
    /// accept]
    #[arg(long, value_name = "VERDICT", env = "PALISADE_ENDPOINT_TO_HOST", hide_env_values = true, value_parser = choice_parser::<EndpointToHost>())]
    endpoint_to_host: Option<EndpointToHost>,
    /// What becomes of traffic of addresses in a node's pod ranges that no endpoint has [default:
    /// drop]
    #[arg(long, value_name = "VERDICT", env = "PALISADE_UNKNOWN_ENDPOINT", hide_env_values = true, value_parser = choice_parser::<UnknownEndpoint>())]
    unknown_endpoint: Option<UnknownEndpoint>,
    /// Where our jumps stand in FORWARD, INPUT and OUTPUT [default: head]
    #[arg(long, value_name = "PLACE", env = "PALISADE_HOOK_POSITION", hide_env_values = true, value_parser = choice_parser::<HookPosition>())]
    hook_position: Option<HookPosition>,
    /// What becomes of VXLAN and IPIP packets of endpoints: `policed` treats them as any other
    /// [default: policed]
    #[arg(long, value_name = "VERDICT", env = "PALISADE_ENCAPSULATED", hide_env_values = true, value_parser = choice_parser::<Encapsulated>())]
    encapsulated: Option<Encapsulated>,
    /// Ports of a node that stay open at its host endpoints, as `22,udp:68,tcp:10.0.0.0/8:9100`, or
    /// `none` [default: Calico's]
    #[arg(
        long,
        value_name = "PORTS",
        env = "PALISADE_FAILSAFE_INBOUND",
        hide_env_values = true
    )]
    failsafe_inbound: Option<FailsafeList>,
    /// Ports that a node may reach through its host endpoints, whatever policy says [default:
    /// Calico's]
    #[arg(
        long,
        value_name = "PORTS",
        env = "PALISADE_FAILSAFE_OUTBOUND",
        hide_env_values = true
    )]
    failsafe_outbound: Option<FailsafeList>,
    /// How the sources of packets are validated, so that no pod sends with another's address
    /// [default: strict]
    #[arg(long, value_name = "MODE", env = "PALISADE_SOURCE_VALIDATION", hide_env_values = true, value_parser = choice_parser::<SourceValidation>())]
    source_validation: Option<SourceValidation>,
    /// Interfaces of pods, as `cali+`: their packets are always validated strictly (repeatable)
    #[arg(
        long,
        value_name = "PATTERN",
        env = "PALISADE_POD_INTERFACE",
        hide_env_values = true,
        value_delimiter = ','
    )]
    pod_interface: Vec<InterfacePattern>,
    /// Directory of templates that replace the built-in ones; a file it lacks is the built-in one
    #[arg(
        long,
        value_name = "DIR",
        env = "PALISADE_TEMPLATES",
        hide_env_values = true
    )]
    templates: Option<PathBuf>,
    #[command(flatten)]
    extensions: ExtensionArguments,
}

impl RenderArguments {
    /// What is allowed of scripts.
    pub(super) fn extensions(&self) -> &ExtensionArguments {
        &self.extensions
    }
}

/// Matches and targets of a user's templates.
#[derive(Debug, Args)]
pub(super) struct ExtensionArguments {
    /// Take scripts of which templates added matches or targets by this name, such as `tcp` or
    /// `REJECT`, to rules that drop, reject or log (may be repeated)
    #[arg(
        long = "allow-extension",
        value_name = "NAME",
        env = "PALISADE_ALLOW_EXTENSION",
        hide_env_values = true,
        value_delimiter = ','
    )]
    extensions: Vec<ExtensionName>,
}

/// The configuration file.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
struct ConfigFile {
    endpoint_to_host: Option<String>,
    unknown_endpoint: Option<String>,
    hook_position: Option<String>,
    encapsulated: Option<String>,
    failsafe_inbound: Option<String>,
    failsafe_outbound: Option<String>,
    source_validation: Option<String>,
    pod_interface: Vec<String>,
    templates: Option<PathBuf>,
    allow_extensions: Vec<String>,
    lints: BTreeMap<String, String>,
}

/// A parser of the words of a choice.
fn choice_parser<Choice: ChoiceWords + Send + Sync>() -> impl TypedValueParser<Value = Choice> {
    let names = Choice::WORDS.iter().map(|row| row.0);
    PossibleValuesParser::new(names).try_map(|word| Choice::from_word(&word).ok_or("unknown word"))
}

/// Options and templates from flags and variables (clap reads both) and, where those are silent,
/// the file.
pub(super) fn load(
    choices: &RenderArguments,
    path: Option<&Path>,
) -> Result<(CompileOptions, TemplateSet), Diagnostic> {
    let file = path.map(read).transpose()?.unwrap_or_default();
    let name = path
        .map(|path| path.display().to_string())
        .unwrap_or_default();
    stated_levels(&file, &name)?;

    let calico = FailsafePorts::default();
    let failsafes = FailsafePorts {
        inbound: ports(
            choices.failsafe_inbound.as_ref(),
            file.failsafe_inbound.as_deref(),
            &name,
        )?
        .unwrap_or(calico.inbound),
        outbound: ports(
            choices.failsafe_outbound.as_ref(),
            file.failsafe_outbound.as_deref(),
            &name,
        )?
        .unwrap_or(calico.outbound),
    };

    let options = CompileOptions {
        failsafes,
        source_validation: choose(
            choices.source_validation,
            "sourceValidation",
            file.source_validation.as_deref(),
            &name,
        )?,
        pod_interfaces: interfaces(&choices.pod_interface, &file.pod_interface, &name)?,
        endpoint_to_host: choose(
            choices.endpoint_to_host,
            "endpointToHost",
            file.endpoint_to_host.as_deref(),
            &name,
        )?,
        unknown_endpoint: choose(
            choices.unknown_endpoint,
            "unknownEndpoint",
            file.unknown_endpoint.as_deref(),
            &name,
        )?,
        hook_position: choose(
            choices.hook_position,
            "hookPosition",
            file.hook_position.as_deref(),
            &name,
        )?,
        encapsulated: choose(
            choices.encapsulated,
            "encapsulated",
            file.encapsulated.as_deref(),
            &name,
        )?,
        extensions: chosen(&choices.extensions, &file, &name)?,
    };
    let directory = choices.templates.as_ref().or(file.templates.as_ref());

    let replaced = directory
        .map(|directory| read_templates(directory))
        .transpose()?
        .unwrap_or_default();
    Ok((options, TemplateSet::new(&replaced)?))
}

/// The extensions that flags, the variable or the file allow, for commands that read scripts only.
pub(super) fn extensions(
    allowed: &ExtensionArguments,
    path: Option<&Path>,
) -> Result<ExtensionSet, Diagnostic> {
    let file = path.map(read).transpose()?.unwrap_or_default();
    let name = path
        .map(|path| path.display().to_string())
        .unwrap_or_default();
    chosen(allowed, &file, &name)
}

fn chosen(
    allowed: &ExtensionArguments,
    file: &ConfigFile,
    path: &str,
) -> Result<ExtensionSet, Diagnostic> {
    if !allowed.extensions.is_empty() {
        return Ok(allowed.extensions.iter().cloned().collect());
    }

    let read = file.allow_extensions.iter().map(|name| name.parse());
    let invalid = |what: String| {
        Diagnostic::new(
            Code::InvalidConfig,
            format!("`{path}`: `allowExtensions`: {what}"),
        )
    };

    read.collect::<Result<ExtensionSet, String>>()
        .map_err(invalid)
}

/// The levels of lints from flags and, where those are silent, the file.
pub(super) fn lints(allowed: &[String], path: Option<&Path>) -> Result<LintLevels, Diagnostic> {
    let file = path.map(read).transpose()?.unwrap_or_default();
    let name = path
        .map(|path| path.display().to_string())
        .unwrap_or_default();
    let mut levels = stated_levels(&file, &name)?;
    for name in allowed {
        levels.set(lint_of(name, "--allow")?, LintLevel::Allow);
    }
    Ok(levels)
}

fn stated_levels(file: &ConfigFile, path: &str) -> Result<LintLevels, Diagnostic> {
    let mut levels = LintLevels::default();
    for (name, word) in &file.lints {
        let code = lint_of(name, path)?;
        let level = match word.as_str() {
            "allow" => LintLevel::Allow,
            "deny" => LintLevel::Deny,
            _ => {
                let message = format!("`{path}`: `{word}` is no level of the lint `{name}`");
                return Err(
                    Diagnostic::new(Code::InvalidConfig, message).help("write `allow` or `deny`")
                );
            }
        };
        levels.set(code, level);
    }

    Ok(levels)
}

fn lint_of(name: &str, place: &str) -> Result<Code, Diagnostic> {
    lint::by_name(name).ok_or_else(|| {
        let help = match nearest(name, LINTS.iter().map(|row| row.0.name())) {
            Some(meant) => format!("did you mean `{meant}`?"),
            None => format!(
                "the lints are {}",
                LINTS
                    .iter()
                    .map(|row| format!("`{}`", row.0))
                    .collect::<Vec<_>>()
                    .join(", ")
            ),
        };
        Diagnostic::new(
            Code::InvalidConfig,
            format!("`{place}`: there is no lint `{name}`"),
        )
        .help(help)
    })
}

fn choose<Choice: ChoiceWords + Default>(
    flag: Option<Choice>,
    key: &str,
    word: Option<&str>,
    file: &str,
) -> Result<Choice, Diagnostic> {
    match (flag, word) {
        (Some(choice), _) => Ok(choice),
        (None, None) => Ok(Choice::default()),
        (None, Some(word)) => Choice::from_word(word).ok_or_else(|| {
            let words = Choice::WORDS
                .iter()
                .map(|row| format!("`{}`", row.0))
                .collect::<Vec<_>>()
                .join(" or ");
            Diagnostic::new(
                Code::InvalidConfig,
                format!("`{file}`: `{word}` is no value of `{key}`"),
            )
            .help(format!("write {words}"))
        }),
    }
}

/// The pods' interfaces that flags or else the file give: sorted, each once.
fn interfaces(
    flags: &[InterfacePattern],
    words: &[String],
    file: &str,
) -> Result<Vec<InterfacePattern>, Diagnostic> {
    let invalid = |error: String| {
        let message = format!("`{file}`: {error}");
        Diagnostic::new(Code::InvalidConfig, message).help("check `podInterface`")
    };
    let mut patterns = match flags {
        [] => words
            .iter()
            .map(|word| word.parse().map_err(invalid))
            .collect::<Result<_, _>>()?,
        flags => flags.to_vec(),
    };

    patterns.sort_unstable();
    patterns.dedup();
    Ok(patterns)
}

/// The failsafe ports that a flag or the file gives.
fn ports(
    flag: Option<&FailsafeList>,
    text: Option<&str>,
    file: &str,
) -> Result<Option<FailsafeList>, Diagnostic> {
    let invalid =
        |error: String| Diagnostic::new(Code::InvalidConfig, format!("`{file}`: {error}"));
    match flag {
        Some(list) => Ok(Some(list.clone())),
        None => text.map(str::parse).transpose().map_err(invalid),
    }
}

fn read(path: &Path) -> Result<ConfigFile, Diagnostic> {
    let invalid = |what: &dyn std::fmt::Display| {
        let message = format!(
            "cannot use the configuration file `{}`: {what}",
            path.display()
        );
        Diagnostic::new(Code::InvalidConfig, message)
    };

    let text = input::read_named(path)
        .and_then(text)
        .map_err(|error| invalid(&error).help("check `--config` and PALISADE_CONFIG"))?;
    serde_yaml::from_str(&text).map_err(|error| {
        invalid(&error).help("see `palisade render --help` for what can be chosen")
    })
}

fn text(bytes: Vec<u8>) -> io::Result<String> {
    String::from_utf8(bytes)
        .map_err(|_| io::Error::new(io::ErrorKind::InvalidData, "it is not UTF-8"))
}

/// The templates that a directory has; it must have one at least.
fn read_templates(directory: &Path) -> Result<Vec<(String, String)>, Diagnostic> {
    if let Err(error) = fs::read_dir(directory) {
        let message = format!(
            "cannot read the templates in `{}`: {error}",
            directory.display()
        );
        return Err(Diagnostic::new(Code::Unreadable, message)
            .help("`--templates` takes a directory, as templates/README.md describes it"));
    }

    let mut replaced = Vec::new();
    for template in TEMPLATES {
        let path = directory.join(template.file);
        match read_file(&path).and_then(text) {
            Ok(text) => replaced.push((template.file.to_owned(), text)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => {
                return Err(Diagnostic::new(
                    Code::Unreadable,
                    format!("cannot read `{}`: {error}", path.display()),
                ));
            }
        }
    }

    if replaced.is_empty() {
        let names = TEMPLATES
            .map(|template| format!("`{}`", template.file))
            .join(" nor ");
        let message = format!("`{}` holds neither {names}", directory.display());
        return Err(Diagnostic::new(Code::InvalidTemplate, message)
            .help("put one there, or leave `--templates` out"));
    }

    Ok(replaced)
}
