//! Turns files into objects: YAML or JSON, documents, lists, kinds.

use std::collections::BTreeMap;

use crate::diagnostic::{Code, Diagnostic, Diagnostics, MOST};
use crate::document::envelope::ObjectEnvelope;
use crate::document::input::SourceText;
use crate::document::kind::{self, KindRefusal, RefusalField};
use crate::document::object::ObjectBody;
use crate::document::yaml::{self, YamlDocument};
use crate::document::{
    KindRole, KindRow, ManifestObject, NodeScalar, NodeValue, YamlNode, json, too_deep,
};
use crate::source::{FileId, SourceFile, SourceFiles, Spanned};

/// Maximum number of nested lists around an object.
const DEEPEST_LIST: usize = 8;

/// Calls `visit` for every object of a kind that is read, in the order of the files.
///
/// Policy of unsupported kinds is refused. Objects of irrelevant kinds are counted in one note.
pub fn for_each<'text>(
    files: &'text SourceFiles,
    diagnostics: &mut Diagnostics,
    visit: &mut dyn FnMut(ManifestObject<'text>, &mut Diagnostics),
) {
    let mut reader = ObjectReader {
        found: diagnostics,
        visit,
        skipped: BTreeMap::new(),
        objects: 0,
    };
    for (id, file) in files.iter() {
        reader.file(id, file);
    }
    reader.tell_skipped();
}

/// Calls `visit` for the tree of every document in some files, regardless of its content.
pub fn trees(
    files: &SourceFiles,
    own: &[FileId],
    diagnostics: &mut Diagnostics,
    visit: &mut dyn FnMut(&YamlNode, &mut Diagnostics),
) {
    for id in own {
        let (input, text, format) = open(*id, files.get(*id));
        match format {
            FileFormat::Json(values) => {
                for value in values {
                    let tree = value
                        .map_err(|problem| diagnostics.push(problem))
                        .ok()
                        .and_then(|value| json::tree(input, value, diagnostics));
                    tree.iter().for_each(|root| visit(root, diagnostics));
                }
            }
            FileFormat::Yaml => {
                for part in yaml::parts(text) {
                    yaml::read(input, part, diagnostics)
                        .iter()
                        .for_each(|document| visit(&document.root, diagnostics));
                }
            }
        }
    }
}

/// The format of a file.
enum FileFormat<'text> {
    /// JSON: consecutive values, up to the first error.
    Json(JsonValues<'text>),
    /// YAML.
    Yaml,
}

type JsonValues<'text> = Box<dyn Iterator<Item = Result<&'text str, Diagnostic>> + 'text>;

/// The shortest text with all required fields of an object.
const SHORTEST_OBJECT: &str = r#"{"apiVersion":"a","kind":"b"}"#;

/// Returns a file's text without its byte order mark, and its format.
fn open(id: FileId, file: &SourceFile) -> (SourceText<'_>, &str, FileFormat<'_>) {
    let input = SourceText {
        file: id,
        text: &file.text,
    };
    let text = file.text.strip_prefix('\u{feff}').unwrap_or(&file.text);
    (input, text, format(input, &file.name, text))
}

/// Determines the format of a file before any object is visited.
///
/// A file whose name ends in `.json` is JSON. Any other file that starts with a bracket is JSON if
/// all of it is valid JSON, else YAML: `{kind: Pod}` is a YAML mapping, and a JSON value may be the
/// first document of a YAML stream.
///
/// Cost: JSON is parsed once. 16 bytes are kept for each value; [`SHORTEST_OBJECT`] ensures that
/// this is less than the size of the text.
fn format<'text>(input: SourceText<'text>, name: &str, text: &'text str) -> FileFormat<'text> {
    let mut rest = json::values(text);
    let problem = move |error| json::syntax(input, text, &error);
    if name.ends_with(".json") {
        return FileFormat::Json(Box::new(rest.map(move |value| value.map_err(problem))));
    }
    if !text.trim_start().starts_with(['{', '[']) {
        return FileFormat::Yaml;
    }

    let (mut values, mut no_objects) = (Vec::new(), 0);
    // after more than `MOST` values that are not objects, reading stops with errors, so the rest of
    // the text does not matter
    while no_objects <= MOST {
        match rest.next() {
            Some(Ok(value)) => {
                no_objects += usize::from(value.len() < SHORTEST_OBJECT.len());
                values.push(Ok(value));
            }
            Some(Err(error)) if is_no_yaml(text, &error) => {
                values.push(Err(error));
                break;
            }
            Some(Err(_)) => return FileFormat::Yaml,
            None => break,
        }
    }
    FileFormat::Json(Box::new(
        values
            .into_iter()
            .chain(rest)
            .map(move |value| value.map_err(problem)),
    ))
}

/// Whether text with a JSON error cannot be YAML either. The JSON error is then more useful.
///
/// Text that ends inside a JSON value also ends inside YAML brackets: it is truncated. Text that is
/// too large for YAML is an inventory, which `kubectl` writes as JSON.
fn is_no_yaml(text: &str, error: &serde_json::Error) -> bool {
    error.is_eof() || yaml::parts(text).any(|part| part.len() > yaml::LONGEST_DOCUMENT)
}

struct ObjectReader<'text, 'run> {
    found: &'run mut Diagnostics,
    visit: &'run mut dyn FnMut(ManifestObject<'text>, &mut Diagnostics),
    /// Number of skipped objects, by kind.
    skipped: BTreeMap<String, usize>,
    /// Number of objects and lists so far.
    objects: usize,
}

/// A value that may be an object or a list.
struct ObjectCandidate<'text> {
    input: SourceText<'text>,
    body: ObjectBody<'text>,
    /// The text that it shares with other objects, if aliases may refer to text outside of its own.
    shared: Option<&'text str>,
    /// Number of lists that contain it.
    depth: usize,
}

/// The API version and kind of an object, with their spans.
#[derive(Clone)]
struct ObjectHeader {
    api_version: Spanned<String>,
    kind: Spanned<String>,
}

impl<'text> ObjectReader<'text, '_> {
    fn file(&mut self, id: FileId, file: &'text SourceFile) {
        let (objects, errors) = (self.objects, self.found.error_count());
        let (input, text, format) = open(id, file);
        match format {
            FileFormat::Json(values) => self.json(input, values),
            FileFormat::Yaml => self.yaml(input, text),
        }

        // An empty file may be the output of a failed command. Missing policy would go unnoticed.
        if self.objects == objects && self.found.error_count() == errors {
            let help = "an empty file can be a failed command's output; leave it out if nothing \
                        is missing";
            self.found.push(
                Diagnostic::at(
                    Code::NoObjects,
                    id.span(0..0),
                    "there is no object in this file",
                )
                .help(help),
            );
        }
    }

    /// Whether there are so many errors that further ones are not shown. The input is then probably
    /// not a manifest, and may be huge.
    fn gave_up(&self) -> bool {
        self.found.error_count() > MOST
    }

    fn json(&mut self, input: SourceText<'text>, values: JsonValues<'text>) {
        for value in values {
            if self.gave_up() {
                return;
            }
            match value {
                Ok(value) => self.candidate(
                    ObjectCandidate {
                        input,
                        body: ObjectBody::Json(value),
                        shared: None,
                        depth: 0,
                    },
                    None,
                ),
                Err(problem) => self.found.push(problem),
            }
        }
    }

    fn yaml(&mut self, input: SourceText<'text>, text: &'text str) {
        for part in yaml::parts(text) {
            if self.gave_up() {
                return;
            }
            for YamlDocument { root, has_aliases } in yaml::read(input, part, self.found) {
                // With aliases, the text of an object alone is not a complete document.
                let shared = has_aliases.then_some(part.trim());
                self.candidate(
                    ObjectCandidate {
                        input,
                        body: ObjectBody::Tree(root),
                        shared,
                        depth: 0,
                    },
                    None,
                );
            }
        }
    }

    fn candidate(&mut self, candidate: ObjectCandidate<'text>, list: Option<&ObjectHeader>) {
        let ObjectCandidate {
            input,
            body,
            shared,
            depth,
        } = candidate;

        let Some(envelope) = ObjectEnvelope::open(input, body, self.found) else {
            return;
        };
        let Some(header) = header(&envelope, list, self.found) else {
            return;
        };

        self.objects += 1;
        match list_item_kind(&header, &envelope) {
            // Lists are handled recursively, so their depth must be limited.
            Some(_) if depth == DEEPEST_LIST => self.found.push(too_deep(header.kind.span)),
            Some(item_kind) => {
                let kind = Spanned::new(item_kind, header.kind.span);
                self.list(envelope, &ObjectHeader { kind, ..header }, shared, depth);
            }
            None => self.object(envelope, &header, shared),
        }
    }

    /// Splits a list into items. `header` contains the kind of items without one.
    fn list(
        &mut self,
        envelope: ObjectEnvelope<'text>,
        header: &ObjectHeader,
        shared: Option<&'text str>,
        depth: usize,
    ) {
        self.check_list(&envelope, header);
        let input = envelope.input;

        for body in envelope.items(self.found) {
            if self.gave_up() {
                return;
            }
            self.candidate(
                ObjectCandidate {
                    input,
                    body,
                    shared,
                    depth: depth + 1,
                },
                Some(header),
            );
        }
    }

    fn check_list(&mut self, envelope: &ObjectEnvelope<'text>, header: &ObjectHeader) {
        envelope.check_list_fields(self.found);
        if !envelope.has_items() {
            self.found.push(Diagnostic::at(
                Code::MissingField,
                header.kind.span,
                "this list has no `items` that are a list",
            ));
        }

        let metadata = envelope.field("metadata", self.found);
        let rest = metadata
            .as_ref()
            .and_then(|metadata| metadata.get("continue"));
        // The API server sets `continue` if it returned only some of the objects. The rest may
        // contain policy.
        if let Some(rest) = rest.filter(|rest| !is_blank(rest)) {
            let message = "this list is only the first part of a longer one";
            self.found.push(
                Diagnostic::at(Code::IncompleteList, rest.span, message)
                    .help("fetch it without a limit"),
            );
        }
    }

    fn object(
        &mut self,
        envelope: ObjectEnvelope<'text>,
        header: &ObjectHeader,
        shared: Option<&'text str>,
    ) {
        let ObjectHeader {
            api_version,
            kind: name,
        } = header;
        let Some((group, version)) = group_and_version(&api_version.value) else {
            let message = format!("`{}` is not an API version", api_version.value);
            return self
                .found
                .push(Diagnostic::at(Code::NotAnObject, api_version.span, message));
        };

        match kind::judge(group, version, &name.value) {
            Ok(Some(
                row @ KindRow {
                    role: KindRole::Read(kind),
                    ..
                },
            )) => {
                let object = envelope.into_object(*kind, row.is_internal(), name.span, shared);
                (self.visit)(object, self.found);
            }
            Ok(_) => *self.skipped.entry(name.value.clone()).or_default() += 1,
            Err(refusal) => self.refuse(refusal, header),
        }
    }

    fn refuse(&mut self, refusal: KindRefusal, header: &ObjectHeader) {
        let KindRefusal {
            culprit,
            message,
            help,
        } = refusal;
        let place = match culprit {
            RefusalField::ApiVersion => header.api_version.span,
            RefusalField::Kind => header.kind.span,
        };

        self.found
            .push(Diagnostic::at(Code::UnsupportedKind, place, message).maybe_help(help));
    }

    fn tell_skipped(self) {
        if self.skipped.is_empty() {
            return;
        }

        let counts: Vec<String> = self
            .skipped
            .iter()
            .map(|(kind, count)| format!("{count} {kind}"))
            .collect();
        let message = format!(
            "skipped {}: Palisade does not read these kinds",
            counts.join(", ")
        );

        self.found
            .push(Diagnostic::new(Code::SkippedKinds, message));
    }
}

/// The API version and kind of an object, or those from its list if it has none.
fn header(
    envelope: &ObjectEnvelope<'_>,
    list: Option<&ObjectHeader>,
    diagnostics: &mut Diagnostics,
) -> Option<ObjectHeader> {
    let start = envelope.start();
    let mut said =
        |name, inherited: Option<&Spanned<String>>| match envelope.field(name, diagnostics) {
            Some(node) => node
                .text(diagnostics)
                .map(|text| Spanned::new(text.value, text.span)),
            None => Some(Spanned::new(
                inherited.map(|list| list.value.clone()).unwrap_or_default(),
                start,
            )),
        };
    let api_version = said("apiVersion", list.map(|list| &list.api_version));
    let kind = said("kind", list.map(|list| &list.kind));
    let missing =
        |said: &Option<Spanned<String>>| said.as_ref().is_some_and(|said| said.value.is_empty());
    let missing = match (missing(&api_version), missing(&kind)) {
        (false, false) => {
            return Some(ObjectHeader {
                api_version: api_version?,
                kind: kind?,
            });
        }
        (true, false) => "`apiVersion` is",
        (false, true) => "`kind` is",
        (true, true) => "`apiVersion` and `kind` are",
    };

    diagnostics.push(Diagnostic::at(
        Code::NotAnObject,
        start,
        format!("expected a Kubernetes object, but {missing} missing"),
    ));
    None
}

/// Splits an API version into group and version.
fn group_and_version(api_version: &str) -> Option<(&str, &str)> {
    match api_version.split_once('/') {
        None => Some(("", api_version)),
        Some((group, version)) => {
            (!group.is_empty() && !version.is_empty() && !version.contains('/'))
                .then_some((group, version))
        }
    }
}

/// The kind of items without their own kind in a list. Empty for a `List`, whose items may have any
/// kind.
fn list_item_kind(header: &ObjectHeader, envelope: &ObjectEnvelope<'_>) -> Option<String> {
    let item_kind = header.kind.value.strip_suffix("List")?;
    let group = group_and_version(&header.api_version.value).map(|(group, _)| group);
    let must_be_list =
        item_kind.is_empty() || group.is_some_and(|group| kind::row(group, item_kind).is_some());
    (must_be_list || envelope.has_items()).then(|| item_kind.to_owned())
}

fn is_blank(node: &YamlNode) -> bool {
    match &node.value {
        NodeValue::Scalar(NodeScalar::Null) => true,
        NodeValue::Scalar(NodeScalar::Text(text)) => text.value.is_empty(),
        NodeValue::Scalar(_) | NodeValue::List(_) | NodeValue::Map(_) => false,
    }
}
