//! The pages that a site names itself (sitemaps.org), besides those that its pages link to.

use std::collections::VecDeque;
use std::io::Read;

use flate2::bufread::GzDecoder;
use quick_xml::escape::resolve_xml_entity;
use quick_xml::events::{BytesRef, Event};
use quick_xml::reader::Reader;
use url::Url;

use crate::failure::Failure;
use crate::fetch::{Fetcher, LARGEST_BODY};
use crate::frontier::Frontier;
use crate::hosts::Host;
use crate::{links, robots};

/// A site with more of them has one page for everybody, and a trap for crawlers.
const MOST_SITEMAPS: usize = 50;

/// How gzip begins: a sitemap may be a compressed file, whatever its server says of it.
const GZIP: &[u8] = &[0x1f, 0x8b];

/// What a sitemap says.
#[derive(Debug, Default, PartialEq, Eq)]
struct Sitemap {
    pages: Vec<Url>,
    /// More of them, where it is an index.
    sitemaps: Vec<Url>,
}

/// Offers the pages that the host's sitemaps name. One that fails, or is none, is passed over: links lead to most pages anyway.
pub async fn read(fetcher: &Fetcher, host: &Host, frontier: &Frontier) -> Result<(), Failure> {
    let slot = host.slot().await;
    let rules = robots::rules_of(fetcher, host).await?;
    drop(slot);
    let mut left: VecDeque<Url> = rules.sitemaps().iter().cloned().collect();
    for _ in 0..MOST_SITEMAPS {
        let Some(url) = left.pop_front() else {
            break;
        };
        let Ok(host) = fetcher.hosts.of_url(&url) else {
            continue;
        };
        let _slot = host.slot().await;
        let Ok(answer) = fetcher.get(&url).await else {
            continue;
        };
        if !answer.status.is_success() {
            continue;
        }
        let Sitemap { pages, sitemaps } = parse(&unpacked(&answer.body));
        pages.into_iter().for_each(|page| frontier.offer(page));
        left.extend(sitemaps);
    }
    Ok(())
}

fn unpacked(bytes: &[u8]) -> Vec<u8> {
    let mut unpacked = Vec::new();
    if bytes.starts_with(GZIP) {
        let bounded = &mut GzDecoder::new(bytes).take(LARGEST_BODY as u64);
        // What can be read of a broken one is as good as any other.
        let _ = bounded.read_to_end(&mut unpacked);
    } else {
        unpacked.extend_from_slice(bytes);
    }
    unpacked
}

/// Reads as much as is well-formed. URLs are those within `<loc>`, of pages unless they are within `<sitemap>`; a sitemap may
/// also be plain text with a URL in each line.
fn parse(bytes: &[u8]) -> Sitemap {
    let text = String::from_utf8_lossy(bytes);
    let text = text.trim_start_matches('\u{feff}').trim_start();
    let mut found = Sitemap::default();
    if !text.starts_with('<') {
        found.pages = text.lines().filter_map(page).collect();
        return found;
    }
    let mut reader = Reader::from_str(text);
    let mut in_index = false;
    let mut location: Option<String> = None;
    let append = |location: &mut Option<String>, text: &str| {
        if let Some(location) = location {
            location.push_str(text);
        }
    };
    loop {
        match reader.read_event() {
            Ok(Event::Start(tag)) => match tag.local_name().as_ref() {
                "loc" => location = Some(String::new()),
                "sitemap" => in_index = true,
                _ => {}
            },
            Ok(Event::Text(text)) => append(&mut location, &text),
            Ok(Event::CData(text)) => append(&mut location, &text),
            Ok(Event::GeneralRef(name)) => append(&mut location, &meant_by(&name)),
            Ok(Event::End(tag)) => match tag.local_name().as_ref() {
                "loc" => {
                    let url = location.take().as_deref().and_then(page);
                    match in_index {
                        true => found.sitemaps.extend(url),
                        false => found.pages.extend(url),
                    }
                }
                "sitemap" => in_index = false,
                _ => {}
            },
            Ok(Event::Eof) | Err(_) => return found,
            Ok(_) => {}
        }
    }
}

/// What `&amp;` and its like stand for, of which XML knows five, and what `&#38;` does.
fn meant_by(reference: &BytesRef<'_>) -> String {
    match reference.resolve_char_ref() {
        Ok(Some(char)) => char.into(),
        _ => resolve_xml_entity(reference).unwrap_or_default().to_owned(),
    }
}

fn page(text: &str) -> Option<Url> {
    let url = Url::parse(text.trim()).ok()?;
    matches!(url.scheme(), "http" | "https").then(|| links::canonical(url))
}
