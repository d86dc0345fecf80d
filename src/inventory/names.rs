//! The shapes Kubernetes allows (k8s.io/apimachinery, `util/validation`). None holds a blank, a quote or a newline.

/// An RFC 1123 label: a namespace's name.
pub(super) fn is_dns_label(text: &str) -> bool {
    text.len() <= 63 && is_dns_part(text)
}

/// An RFC 1123 subdomain: the name of a pod, a service account or a node.
pub(super) fn is_dns_subdomain(text: &str) -> bool {
    text.len() <= 253 && text.split('.').all(is_dns_part)
}

/// The name of a port (`IANA_SVC_NAME`, RFC 6335).
pub(super) fn is_port_name(text: &str) -> bool {
    text.len() <= 15 && is_dns_part(text) && !text.contains("--") && text.bytes().any(|byte| byte.is_ascii_lowercase())
}

/// A label's key: a name, with a domain and a slash before it or not.
pub(super) fn is_label_key(text: &str) -> bool {
    match text.split_once('/') {
        Some((domain, name)) => is_dns_subdomain(domain) && is_label_name(name),
        None => is_label_name(text),
    }
}

/// A label's value.
pub(super) fn is_label_value(text: &str) -> bool {
    text.is_empty() || is_label_name(text)
}

fn is_label_name(text: &str) -> bool {
    text.len() <= 63 && is_word(text, |byte| byte.is_ascii_alphanumeric(), b"-_.")
}

fn is_dns_part(text: &str) -> bool {
    is_word(text, |byte| byte.is_ascii_lowercase() || byte.is_ascii_digit(), b"-")
}

/// Letters at both ends, letters and joints between.
fn is_word(text: &str, is_letter: fn(&u8) -> bool, joints: &[u8]) -> bool {
    let bytes = text.as_bytes();
    let ends_well = bytes.first().is_some_and(is_letter) && bytes.last().is_some_and(is_letter);
    ends_well && bytes.iter().all(|byte| is_letter(byte) || joints.contains(byte))
}
