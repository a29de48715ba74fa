//! The links of a page.

use std::collections::HashSet;

use html5gum::emitters::ForwardingEmitter;
use html5gum::emitters::callback::{Callback, CallbackEmitter, CallbackEvent};
use html5gum::{Emitter, Span, Tokenizer};
use url::Url;

/// A page with more is a trap, or a table of which the rest is found elsewhere.
const MOST_LINKS: usize = 5000;

/// The pages that the HTML document `html`, found at `url`, links to: each once, in the order of the document.
pub fn extract(url: &Url, html: &[u8]) -> Vec<Url> {
    let mut emitter = CallbackEmitter::new(Finder::default());
    // What is in scripts and styles is no markup.
    emitter.naively_switch_states(true);

    let mut base = url.clone();
    let mut known = HashSet::new();
    let mut links = Vec::new();
    for Ok(Reference { text, is_base }) in Tokenizer::new_with_emitter(html, Lenient(emitter)) {
        let target = target(&text, &base);
        if is_base {
            base = target.unwrap_or(base);
            continue;
        }
        links.extend(target.filter(|link| known.insert(link.clone())));
        if links.len() == MOST_LINKS {
            break;
        }
    }
    links
}

/// The URL that a reference leads to, if it is one of the web.
fn target(reference: &[u8], base: &Url) -> Option<Url> {
    let url = base.join(str::from_utf8(reference).ok()?).ok()?;
    matches!(url.scheme(), "http" | "https").then(|| canonical(url))
}

/// What an attribute says of another page.
#[derive(Debug)]
struct Reference {
    text: Vec<u8>,
    /// It is what others are relative to.
    is_base: bool,
}

/// Goes through a document's tags, and takes no more of them than the references.
#[derive(Debug, Default)]
struct Finder {
    /// The attribute that matters of the tag that is being read, until it is found.
    wanted: Option<&'static [u8]>,
    is_base: bool,
    /// The attribute that is being read is that one.
    is_wanted: bool,
}

impl Callback<Reference, ()> for Finder {
    fn handle_event(&mut self, event: CallbackEvent<'_>, _: Span<()>) -> Option<Reference> {
        match event {
            CallbackEvent::OpenStartTag { name } => {
                self.is_base = name == b"base";
                self.wanted = match name {
                    b"a" | b"area" | b"base" => Some(b"href"),
                    b"frame" | b"iframe" => Some(b"src"),
                    _ => None,
                };
            }
            CallbackEvent::AttributeName { name } => self.is_wanted = self.wanted == Some(name),
            CallbackEvent::AttributeValue { value } if self.is_wanted => {
                // Said twice, the first counts.
                self.wanted = None;
                self.is_wanted = false;
                return Some(Reference {
                    text: value.to_vec(),
                    is_base: self.is_base,
                });
            }
            CallbackEvent::CloseStartTag { .. } => self.wanted = None,
            _ => {}
        }
        None
    }
}

/// Does not look for mistakes, of which every page is full.
struct Lenient<E>(E);

impl<E: Emitter> ForwardingEmitter for Lenient<E> {
    type Token = E::Token;

    fn inner(&mut self) -> &mut impl Emitter<Token = Self::Token> {
        &mut self.0
    }

    fn should_emit_errors(&mut self) -> bool {
        false
    }
}

/// The URL without what does not tell pages apart: the fragment, and credentials, which are not sent.
pub fn canonical(mut url: Url) -> Url {
    url.set_fragment(None);
    // Refused only by URLs that cannot have any.
    let _ = url.set_username("");
    let _ = url.set_password(None);
    url
}
