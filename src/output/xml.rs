//! XML, for JUnit reports in continuous integration.

use quick_xml::Writer;
use quick_xml::events::{BytesDecl, BytesEnd, BytesStart, BytesText, Event};

use crate::output::OutputSink;
use crate::output::visible::{shown, without_commands};

/// Writes a document. Text contains no character that XML 1.0 forbids (section 2.2), because all of
/// these are escaped.
pub struct XmlWriter {
    writer: Writer<Vec<u8>>,
}

/// Names and values of the attributes of an element.
pub type XmlAttributes<'text> = [(&'static str, &'text str)];

impl XmlWriter {
    /// Writes a document to a sink: the declaration, then what `content` adds.
    pub fn document(sink: &mut OutputSink<'_>, content: impl FnOnce(&mut Self)) {
        let mut xml = Self {
            writer: Writer::new_with_indent(Vec::new(), b' ', 2),
        };
        xml.event(Event::Decl(BytesDecl::new("1.0", Some("UTF-8"), None)));
        content(&mut xml);
        sink.put(&String::from_utf8_lossy(&xml.writer.into_inner()));
        sink.put("\n");
    }

    /// Writes an element with the content that a function adds.
    pub fn element(
        &mut self,
        name: &'static str,
        attributes: &XmlAttributes<'_>,
        content: impl FnOnce(&mut Self),
    ) {
        self.event(Event::Start(start(name, attributes)));
        content(self);
        self.event(Event::End(BytesEnd::new(name)));
    }

    /// Writes an element without content.
    pub fn empty(&mut self, name: &'static str, attributes: &XmlAttributes<'_>) {
        self.event(Event::Empty(start(name, attributes)));
    }

    /// Writes an element that contains lines of text.
    pub fn lines(&mut self, name: &'static str, attributes: &XmlAttributes<'_>, lines: &[String]) {
        let lines: Vec<String> = lines.iter().map(|line| escaped(line)).collect();
        self.event(Event::Start(start(name, attributes)));
        self.event(Event::Text(BytesText::new(&lines.join("\n"))));
        self.event(Event::End(BytesEnd::new(name)));
    }

    fn event(&mut self, event: Event<'_>) {
        // a vector takes everything that is written to it
        let _ = self.writer.write_event(event);
    }
}

fn start<'element>(name: &'static str, attributes: &XmlAttributes<'_>) -> BytesStart<'element> {
    let mut start = BytesStart::new(name);
    for (name, value) in attributes {
        start.push_attribute((*name, escaped(value).as_str()));
    }
    start
}

fn escaped(text: &str) -> String {
    without_commands(&shown(text)).into_owned()
}
