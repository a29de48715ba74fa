//! The links of a page.

use std::collections::HashSet;

use html5gum::{DefaultEmitter, StartTag, Token, Tokenizer};
use url::Url;

/// A page with more is a trap, or a table of which the rest is found elsewhere.
const MOST_LINKS: usize = 5000;

/// The pages that the HTML document `html`, found at `url`, links to: each once, in the order of the document.
pub fn extract(url: &Url, html: &[u8]) -> Vec<Url> {
    let mut emitter = DefaultEmitter::default();
    // What is in scripts and styles is no markup.
    emitter.naively_switch_states(true);

    let mut base = url.clone();
    let mut known = HashSet::new();
    let mut links = Vec::new();
    for Ok(token) in Tokenizer::new_with_emitter(html, emitter) {
        let Token::StartTag(tag) = token else {
            continue;
        };
        let link = match tag.name.as_slice() {
            b"a" | b"area" => target(&tag, b"href", &base),
            b"frame" | b"iframe" => target(&tag, b"src", &base),
            b"base" => {
                base = target(&tag, b"href", &base).unwrap_or(base);
                continue;
            }
            _ => continue,
        };
        links.extend(link.filter(|link| known.insert(link.clone())));
        if links.len() == MOST_LINKS {
            break;
        }
    }
    links
}

/// The URL that an attribute refers to, if it is one of the web.
fn target(tag: &StartTag<()>, attribute: &[u8], base: &Url) -> Option<Url> {
    let reference = str::from_utf8(tag.attributes.get(attribute)?).ok()?;
    let url = base.join(reference).ok()?;
    matches!(url.scheme(), "http" | "https").then(|| canonical(url))
}

/// The URL without what does not tell pages apart: the fragment, and credentials, which are not sent.
pub fn canonical(mut url: Url) -> Url {
    url.set_fragment(None);
    // Refused only by URLs that cannot have any.
    let _ = url.set_username("");
    let _ = url.set_password(None);
    url
}
