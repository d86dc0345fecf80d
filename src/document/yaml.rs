//! Turns YAML text into trees, one document at a time.
//!
//! Aliases become copies, within a budget. Tags other than those of JSON's types are refused.

use std::ops::Range;

use granit_parser::{ErrorKind, Event, Options, Parser, ScalarStyle, ScanError, StrInput, Tag};
use rustc_hash::FxHashMap;

use crate::diagnostic::{Code, Diagnostic, Diagnostics};
use crate::document::input::SourceText;
use crate::document::pairs::MappingPairs;
use crate::document::scalar::{self, PlainScalar};
use crate::document::{DEEPEST, NodeScalar, NodeValue, YamlNode, too_deep};
use crate::source::{Span, SpannedString};

/// Maximum size in bytes of a YAML document. Its tree takes several times as much memory.
pub(super) const LONGEST_DOCUMENT: usize = 64 << 20;

/// Maximum number of values in a YAML document. A list of `- a` has one value per four bytes, and
/// each takes a hundred bytes of memory. Real objects have one per twenty bytes or more, so they
/// reach [`LONGEST_DOCUMENT`] first.
const MOST_VALUES: usize = 4 << 20;

/// Maximum number of nodes that aliases may add to one document.
const ALIAS_BUDGET: usize = 100_000;

/// Number of characters of a scalar that count as one more node.
const LETTERS_PER_NODE: usize = 64;

/// The tree of one document.
pub(super) struct YamlDocument {
    pub(super) root: YamlNode,
    /// Whether a part of the tree is a copy of another part.
    pub(super) has_aliases: bool,
}

/// The parts of a stream, split at lines that start with the marker `---`. YAML forbids such lines
/// inside a document.
pub(super) fn parts(text: &str) -> impl Iterator<Item = &str> {
    let mut rest = Some(text);
    std::iter::from_fn(move || {
        let text = rest?;
        let (part, behind) = text.split_at(next_marker(text));
        rest = (!behind.is_empty()).then_some(behind);
        Some(part)
    })
}

/// The offset of the first marker line, not counting one at the very start.
fn next_marker(text: &str) -> usize {
    let is_marker = |at: &usize| {
        text.get(at + 4..)
            .is_some_and(|rest| rest.is_empty() || rest.starts_with([' ', '\t', '\n', '\r']))
    };
    let mut markers = text.match_indices("\n---").map(|(at, _)| at);
    markers
        .find(is_marker)
        .map_or(text.len(), |newline| newline + 1)
}

/// The documents in one part of a stream that are not null. The first syntax error ends the part.
pub(super) fn read(
    input: SourceText<'_>,
    part: &str,
    diagnostics: &mut Diagnostics,
) -> Vec<YamlDocument> {
    if part.len() > LONGEST_DOCUMENT {
        diagnostics.push(too_large(input, part));
        return Vec::new();
    }

    let mut documents = Vec::new();
    let mut builder = TreeBuilder::new(input, part, diagnostics);
    loop {
        match builder.document() {
            Ok(Some(root)) if root.is_null() => {}
            Ok(Some(root)) => documents.push(YamlDocument {
                root,
                has_aliases: builder.has_aliases,
            }),
            Ok(None) => return documents,
            Err(problem) => {
                builder.found.push(problem);
                return documents;
            }
        }
    }
}

fn too_many(span: Span) -> Diagnostic {
    Diagnostic::at(
        Code::TooLarge,
        span,
        format!("this YAML document has more than {MOST_VALUES} values"),
    )
    .help(SPLIT)
}

const SPLIT: &str = "split it at `---`, or give the inventory as JSON (`kubectl get -o json`), \
                     which is read at any size";

fn too_large(input: SourceText<'_>, part: &str) -> Diagnostic {
    let megabytes = LONGEST_DOCUMENT >> 20;
    let start = input.character_at(input.place(part).start);
    Diagnostic::at(
        Code::TooLarge,
        start,
        format!("this YAML document is larger than {megabytes} MiB"),
    )
    .help(SPLIT)
}

/// Builds trees from the parser's events.
struct TreeBuilder<'text, 'found> {
    parser: Parser<'text, StrInput<'text>>,
    input: SourceText<'text>,
    /// Offset in the file of the parser's offset 0.
    base: usize,
    anchors: FxHashMap<usize, AnchoredNode>,
    /// Number of values that the document may still add.
    room: usize,
    budget: usize,
    has_aliases: bool,
    found: &'found mut Diagnostics,
}

/// The node that an alias refers to.
struct AnchoredNode {
    node: YamlNode,
    weight: usize,
    height: usize,
}

type TreeResult<T> = Result<T, Diagnostic>;

impl<'text, 'found> TreeBuilder<'text, 'found> {
    fn new(input: SourceText<'text>, part: &'text str, found: &'found mut Diagnostics) -> Self {
        let parser = Parser::new_from_str_with_options(part, options());
        let base = input.place(part).start;
        Self {
            parser,
            input,
            base,
            anchors: FxHashMap::default(),
            room: MOST_VALUES,
            budget: ALIAS_BUDGET,
            has_aliases: false,
            found,
        }
    }

    /// The root of the next document, or `None` at the end.
    fn document(&mut self) -> TreeResult<Option<YamlNode>> {
        self.anchors.clear();
        self.room = MOST_VALUES;
        self.budget = ALIAS_BUDGET;
        self.has_aliases = false;

        loop {
            match self.next()? {
                (Event::StreamStart | Event::DocumentStart(..) | Event::DocumentEnd, _) => {}
                (Event::StreamEnd, _) => return Ok(None),
                (event, span) => return self.node(event, span, 0).map(Some),
            }
        }
    }

    fn next(&mut self) -> TreeResult<(Event<'text>, Span)> {
        match self.parser.next_event() {
            Some(Ok((event, span))) => {
                let range = span.byte_range().unwrap_or_default();
                Ok((event, self.span(range)))
            }
            Some(Err(error)) => Err(syntax(self.input, self.base, &error)),
            None => Ok((Event::StreamEnd, self.span(0..0))),
        }
    }

    fn span(&self, range: Range<usize>) -> Span {
        self.input
            .file
            .span(self.base + range.start..self.base + range.end)
    }

    fn node(&mut self, event: Event<'text>, span: Span, depth: usize) -> TreeResult<YamlNode> {
        self.room = self.room.checked_sub(1).ok_or_else(|| too_many(span))?;
        let (node, anchor) = match event {
            Event::Scalar(value, style, anchor, tag) => {
                (self.scalar(&value, style, tag.as_deref(), span)?, anchor)
            }
            Event::SequenceStart(_, anchor, tag) => {
                (self.list(tag.as_deref(), span, depth)?, anchor)
            }
            Event::MappingStart(_, anchor, tag) => {
                (self.mapping(tag.as_deref(), span, depth)?, anchor)
            }
            Event::Alias(anchor) => return self.alias(anchor, span, depth),
            Event::UnresolvedAlias(name) => return Err(unknown_alias(&name, span)),
            Event::StreamStart
            | Event::StreamEnd
            | Event::DocumentStart(..)
            | Event::DocumentEnd
            | Event::Anchor(..)
            | Event::Comment(..)
            | Event::SequenceEnd
            | Event::MappingEnd
            | _ => {
                return Err(Diagnostic::at(
                    Code::YamlSyntax,
                    span,
                    "a value is missing here",
                ));
            }
        };

        if anchor != 0 {
            self.remember(anchor, &node)?;
        }

        Ok(node)
    }

    fn scalar(
        &self,
        value: &str,
        style: ScalarStyle,
        tag: Option<&Tag>,
        span: Span,
    ) -> TreeResult<YamlNode> {
        let span = self.trimmed(span);
        let source = self.input.slice(span);
        let value = if source.is_empty() && style == ScalarStyle::Plain {
            ""
        } else {
            value
        };

        let text = || NodeScalar::Text(SpannedString::new(value.to_owned(), span, source));
        let scalar = match (style, tag) {
            // Only unquoted scalars have a type other than text.
            (ScalarStyle::Plain, None) => plain(value, text),
            (_, None) => text(),
            (_, Some(tag)) if tag.is_yaml_core_schema_tag("str") => text(),
            (ScalarStyle::Plain, Some(tag)) => {
                fitting(plain(value, text), tag).ok_or_else(|| refused_tag(tag, span))?
            }
            (_, Some(tag)) => return Err(refused_tag(tag, span)),
        };

        Ok(YamlNode {
            span,
            value: NodeValue::Scalar(scalar),
        })
    }

    /// The span without trailing white space. For the parser, a block scalar ends at the start of
    /// the next line; for a reader, it ends after its last character.
    fn trimmed(&self, span: Span) -> Span {
        let start = span.range().start;
        let source = self
            .input
            .slice(span)
            .trim_end_matches([' ', '\t', '\n', '\r']);
        self.input.file.span(start..start + source.len())
    }

    fn list(&mut self, tag: Option<&Tag>, start: Span, depth: usize) -> TreeResult<YamlNode> {
        self.enter(tag, "seq", start, depth)?;
        let mut items = Vec::new();

        loop {
            match self.next()? {
                (Event::SequenceEnd, end) => {
                    let span = collection(
                        start,
                        items.last().map(|item: &YamlNode| item.span.end),
                        end,
                    );
                    return Ok(YamlNode {
                        span,
                        value: NodeValue::List(items),
                    });
                }
                (event, span) => items.push(self.node(event, span, depth + 1)?),
            }
        }
    }

    fn mapping(&mut self, tag: Option<&Tag>, start: Span, depth: usize) -> TreeResult<YamlNode> {
        self.enter(tag, "map", start, depth)?;
        let mut pairs = MappingPairs::default();

        loop {
            match self.next()? {
                (Event::MappingEnd, end) => {
                    let span = collection(start, pairs.end(), end);
                    return Ok(YamlNode {
                        span,
                        value: NodeValue::Map(pairs.finish(self.found)),
                    });
                }
                // Only an unquoted `<<` is a merge key.
                (Event::Scalar(key, ScalarStyle::Plain, _, None), span) if key == "<<" => {
                    pairs.merge(span, self.value(depth)?)
                }
                (event, span) => {
                    let key = self.key(event, span, depth)?;
                    pairs.push(key, self.value(depth)?);
                }
            }
        }
    }

    fn value(&mut self, depth: usize) -> TreeResult<YamlNode> {
        let (event, span) = self.next()?;
        self.node(event, span, depth + 1)
    }

    fn key(&mut self, event: Event<'text>, span: Span, depth: usize) -> TreeResult<SpannedString> {
        let node = self.node(event, span, depth + 1)?;
        match node.value {
            NodeValue::Scalar(NodeScalar::Text(text)) => Ok(text),
            // JSON keys are strings, so `8080:` becomes the key `"8080"`.
            NodeValue::Scalar(NodeScalar::Number(number)) if is_whole(&number) => {
                Ok(SpannedString::new(number.clone(), node.span, &number))
            }
            NodeValue::Scalar(_) | NodeValue::List(_) | NodeValue::Map(_) => {
                Err(self.refused_key(&node))
            }
        }
    }

    fn refused_key(&self, key: &YamlNode) -> Diagnostic {
        let template = self.input.template_help(key.span.range().start);
        let quotes = matches!(&key.value, NodeValue::Scalar(scalar) if *scalar != NodeScalar::Null)
            .then(|| "put it in quotes".to_owned());
        let message = format!("expected a string as the key, found {}", key.type_name());
        Diagnostic::at(Code::WrongType, key.span, message).maybe_help(template.or(quotes))
    }

    /// Checks limits and tags at the start of a list or mapping.
    fn enter(
        &self,
        tag: Option<&Tag>,
        type_tag: &str,
        start: Span,
        depth: usize,
    ) -> TreeResult<()> {
        match tag {
            _ if depth >= DEEPEST => Err(too_deep(self.input.character_at(start.range().start))),
            Some(tag) if !tag.is_yaml_core_schema_tag(type_tag) => Err(refused_tag(
                tag,
                self.input.character_at(start.range().start),
            )),
            _ => Ok(()),
        }
    }

    fn remember(&mut self, anchor: usize, node: &YamlNode) -> TreeResult<()> {
        // Storing the anchor copies its node, so it costs budget like an alias.
        let ExpansionLimit { weight, height } = measure(node);
        self.spend(weight, node.span)?;
        self.anchors.insert(
            anchor,
            AnchoredNode {
                node: node.clone(),
                weight,
                height,
            },
        );

        Ok(())
    }

    fn alias(&mut self, anchor: usize, span: Span, depth: usize) -> TreeResult<YamlNode> {
        self.has_aliases = true;
        let Some(AnchoredNode { weight, height, .. }) = self.anchors.get(&anchor) else {
            return Err(Diagnostic::at(
                Code::AliasExpansion,
                span,
                "this alias stands inside what it stands for",
            ));
        };
        // Copies of copies could exceed the depth without any deep nesting in the text.
        if depth + height > DEEPEST {
            return Err(too_deep(span));
        }

        self.spend(*weight, span)?;
        self.anchors
            .get(&anchor)
            .map(|anchor| anchor.node.clone())
            .ok_or_else(|| unknown_alias("", span))
    }

    fn spend(&mut self, weight: usize, span: Span) -> TreeResult<()> {
        let message =
            format!("anchors and aliases repeat more than {ALIAS_BUDGET} values in this document");
        let spent = Diagnostic::at(Code::AliasExpansion, span, message)
            .help("write the content out, or less of it");
        self.budget = self.budget.checked_sub(weight).ok_or(spent)?;
        Ok(())
    }
}

fn options() -> Options {
    granit_parser::options! {
        // Directives could redefine tags or the YAML version.
        disallow_directives: true,
        emit_unresolved_aliases: true,
        emit_comments: false,
        flow_nesting_limit: DEEPEST,
        block_nesting_limit: DEEPEST,
    }
}

/// The span of a list or mapping: with its brackets, or else to the end of its last element.
fn collection(start: Span, last: Option<u32>, end: Span) -> Span {
    let is_bracketed = end.end > end.start;
    let behind = if is_bracketed {
        end.end
    } else {
        last.unwrap_or(start.end)
    };
    Span {
        end: behind.max(start.start),
        ..start
    }
}

fn plain(value: &str, text: impl FnOnce() -> NodeScalar) -> NodeScalar {
    match scalar::resolve(value) {
        PlainScalar::Null => NodeScalar::Null,
        PlainScalar::Bool(value) => NodeScalar::Bool(value),
        PlainScalar::Number => NodeScalar::Number(value.to_owned()),
        PlainScalar::Ambiguous => NodeScalar::Ambiguous(value.to_owned()),
        PlainScalar::Text => text(),
    }
}

/// Returns the scalar if it has the type of the tag.
fn fitting(scalar: NodeScalar, tag: &Tag) -> Option<NodeScalar> {
    let fits = match &scalar {
        NodeScalar::Null => tag.is_yaml_core_schema_tag("null"),
        NodeScalar::Bool(_) => tag.is_yaml_core_schema_tag("bool"),
        NodeScalar::Number(number) => {
            // A whole number is also a float, but not the other way round.
            tag.is_yaml_core_schema_tag("float")
                || (tag.is_yaml_core_schema_tag("int") && are_digits(number))
        }
        NodeScalar::Text(_) | NodeScalar::Ambiguous(_) => false,
    };
    fits.then_some(scalar)
}

fn are_digits(number: &str) -> bool {
    number
        .strip_prefix(['+', '-'])
        .unwrap_or(number)
        .bytes()
        .all(|byte| byte.is_ascii_digit())
}

/// Whether all readers turn a number that is a key into the same text.
fn is_whole(number: &str) -> bool {
    number
        .parse::<i64>()
        .is_ok_and(|value| value.to_string() == number)
}

struct ExpansionLimit {
    weight: usize,
    height: usize,
}

fn measure(node: &YamlNode) -> ExpansionLimit {
    match &node.value {
        NodeValue::Scalar(NodeScalar::Text(text)) => ExpansionLimit {
            weight: letters(text),
            height: 0,
        },
        NodeValue::Scalar(NodeScalar::Number(text) | NodeScalar::Ambiguous(text)) => {
            ExpansionLimit {
                weight: 1 + text.len() / LETTERS_PER_NODE,
                height: 0,
            }
        }
        NodeValue::Scalar(NodeScalar::Null | NodeScalar::Bool(_)) => ExpansionLimit {
            weight: 1,
            height: 0,
        },
        NodeValue::List(items) => sum(items.iter().map(measure)),
        NodeValue::Map(entries) => sum(entries.iter().map(|entry| {
            let ExpansionLimit { weight, height } = measure(&entry.value);
            ExpansionLimit {
                weight: weight + letters(&entry.key),
                height,
            }
        })),
    }
}

fn letters(text: &SpannedString) -> usize {
    1 + text.value.len() / LETTERS_PER_NODE
}

fn sum(parts: impl Iterator<Item = ExpansionLimit>) -> ExpansionLimit {
    parts.fold(
        ExpansionLimit {
            weight: 1,
            height: 1,
        },
        |whole, part| ExpansionLimit {
            weight: whole.weight + part.weight,
            height: whole.height.max(part.height + 1),
        },
    )
}

fn unknown_alias(name: &str, span: Span) -> Diagnostic {
    let message = format!("the alias `*{name}` has no anchor before it");
    Diagnostic::at(Code::YamlSyntax, span, message).help(format!(
        "mark the value it stands for with `&{name}`, or put it in quotes"
    ))
}

fn refused_tag(tag: &Tag, span: Span) -> Diagnostic {
    let message = format!("the tag `{}` does not fit here", tag.original());
    Diagnostic::at(Code::YamlSyntax, span, message)
        .help("write the value without a tag; Kubernetes knows strings, numbers, booleans and null")
}

/// Messages that replace the parser's own for the most common errors.
const ADVICE: &[(ErrorKind, &str, &str)] = &[
    (
        ErrorKind::TabInIndentation,
        "a tab cannot indent YAML",
        "use spaces",
    ),
    (
        ErrorKind::TabInBlockIndentation,
        "a tab cannot indent YAML",
        "use spaces",
    ),
    (
        ErrorKind::TabNotAllowed,
        "a tab cannot stand here",
        "use spaces",
    ),
    (
        ErrorKind::DirectiveDisallowed,
        "directives are not read",
        "remove the line, and the rest reads the same",
    ),
    (
        ErrorKind::MappingValueNotAllowed,
        "a second `: ` on one line",
        "put the text in quotes, or the pair on a line of its own",
    ),
    (
        ErrorKind::SimpleKeyExpected,
        "expected `:` behind this",
        "check the indentation, or put the text in quotes",
    ),
    (
        ErrorKind::ExpectedBlockMappingKey,
        "this is no key of the mapping above it",
        "indent it like its neighbours",
    ),
    (
        ErrorKind::InvalidQuotedScalarIndent,
        "this quote is not closed on its line",
        "close it, or indent the lines that continue it",
    ),
    (
        ErrorKind::UnclosedQuotedScalar,
        "this quote is never closed",
        "close it, and indent lines that continue it",
    ),
];

/// Turns a parser error into a diagnostic with a location in the file.
fn syntax(input: SourceText<'_>, base: usize, error: &ScanError) -> Diagnostic {
    let offset = base + error.marker().byte_offset().unwrap_or_default();
    let span = input.character_at(offset.min(input.text.trim_end().len()));
    if *error.kind() == ErrorKind::RecursionLimitExceeded {
        return too_deep(span);
    }

    let advice = ADVICE.iter().find(|(kind, _, _)| kind == error.kind());
    let message = advice.map_or_else(
        || error.info().replace('\'', "`"),
        |(_, message, _)| (*message).to_owned(),
    );
    let help = advice.map(|(_, _, help)| (*help).to_owned());

    Diagnostic::at(Code::YamlSyntax, span, message)
        .maybe_help(help)
        .maybe_help(input.template_help(offset))
}
