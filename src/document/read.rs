//! From files to objects: YAML or JSON, documents, lists, kinds.

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

/// How many lists an object may lie in.
const DEEPEST_LIST: usize = 8;

/// Calls `visit` for every object whose kind is read, in the order of the files.
///
/// Policy that is not compiled is refused; objects that say nothing about policy are counted in one
/// note.
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

/// Calls `visit` for the tree of every document of some files, whatever it is.
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

/// How a whole file is read.
enum FileFormat<'text> {
    /// As JSON: the values one after another, up to the first error.
    Json(JsonValues<'text>),
    /// As YAML.
    Yaml,
}

type JsonValues<'text> = Box<dyn Iterator<Item = Result<&'text str, Diagnostic>> + 'text>;

/// The shortest text that has all that an object must have.
const SHORTEST_OBJECT: &str = r#"{"apiVersion":"a","kind":"b"}"#;

/// Returns a file's text without its byte order mark, and decides how it is read.
fn open(id: FileId, file: &SourceFile) -> (SourceText<'_>, &str, FileFormat<'_>) {
    let input = SourceText {
        file: id,
        text: &file.text,
    };
    let text = file.text.strip_prefix('\u{feff}').unwrap_or(&file.text);
    (input, text, format(input, &file.name, text))
}

/// Decides how a file is read, before anything of it is visited.
///
/// A file whose name ends in `.json` is JSON. Any other file that starts with a bracket is JSON if
/// all of it is, else YAML: `{kind: Pod}` is a mapping of YAML, and a value of JSON may be the
/// first document of a YAML stream.
///
/// Cost: JSON is read once; 16 bytes a value are kept, which [`SHORTEST_OBJECT`] keeps below the
/// size of the text.
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
    // With more than `MOST` values that are no objects, reading ends with errors, whatever comes
    // after them.
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

/// Whether text that JSON's reader refuses cannot be YAML either, so that JSON's error says more.
///
/// Text that ends inside of a JSON value ends inside of YAML's brackets too: it was cut short. Text
/// that is too large for YAML is an inventory, which `kubectl` writes as JSON.
fn is_no_yaml(text: &str, error: &serde_json::Error) -> bool {
    error.is_eof() || yaml::parts(text).any(|part| part.len() > yaml::LONGEST_DOCUMENT)
}

struct ObjectReader<'text, 'run> {
    found: &'run mut Diagnostics,
    visit: &'run mut dyn FnMut(ManifestObject<'text>, &mut Diagnostics),
    /// How many objects of each kind were skipped.
    skipped: BTreeMap<String, usize>,
    /// How many objects and lists were seen so far.
    objects: usize,
}

/// A value of which is to be found out what it is.
struct ObjectCandidate<'text> {
    input: SourceText<'text>,
    body: ObjectBody<'text>,
    /// The text that it shares with others, where aliases may reach out of its own.
    shared: Option<&'text str>,
    /// How many lists it lies in.
    depth: usize,
}

/// What an object says it is, and where.
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

    /// Whether there are so many errors that no more are shown: the input is of another sort, and
    /// may be huge.
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
            Some(_) if depth == DEEPEST_LIST => self.found.push(too_deep(header.kind.span)),
            Some(item_kind) => {
                let kind = Spanned::new(item_kind, header.kind.span);
                self.list(envelope, &ObjectHeader { kind, ..header }, shared, depth);
            }
            None => self.object(envelope, &header, shared),
        }
    }

    /// Takes a list apart; `header` has the kind of items that name none.
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

/// What an object says it is, or what its list says where it says nothing.
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

/// Parts of an API version.
fn group_and_version(api_version: &str) -> Option<(&str, &str)> {
    match api_version.split_once('/') {
        None => Some(("", api_version)),
        Some((group, version)) => {
            (!group.is_empty() && !version.is_empty() && !version.contains('/'))
                .then_some((group, version))
        }
    }
}

/// For a list, the kind of items that do not name theirs (empty in a `List` of anything).
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
