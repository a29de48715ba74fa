//! What the embedded site answers: to the same path always the same.

use std::fmt::Write;
use std::time::Duration;

/// Pages of a host, apart from the oddities.
pub const PAGES: u64 = 1000;

const SEED: u64 = 0x726f_6e64_656c;

/// What a server does when it is asked for a path.
pub enum Answer {
    /// A page, after a pause.
    Page {
        pause: Duration,
        html: String,
        framing: Framing,
    },
    /// A redirect: within the host, to another URL, or to a path of the next host.
    Redirect(String),
    RedirectToNextHost(String),
    /// An error, properly said.
    Status(u16),
    NotHttp,
    OversizeHead,
    EndlessBody,
    /// Half of the body that was announced.
    CutShort,
    /// Half of the body that was announced, and then nothing for ever.
    Stall,
    /// Nothing for ever.
    Silence,
    /// Nothing, the connection is closed.
    HangUp,
}

/// How the client learns where a page ends.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Framing {
    Length,
    /// So, and without having said it, that was the last answer of this connection.
    LengthThenClose,
    Chunked,
    UntilClose,
}

/// What pages link to besides pages, some more often than others.
#[rustfmt::skip]
const ODDITIES: [&str; 24] = [
    "moved", "moved", "moved", "moved", "next-host", "next-host", "next-host", "few-hops",
    "few-hops", "many-hops", "loop", "away", "https", "missing", "missing", "missing", "missing",
    "failing", "failing", "not-http", "oversize-head", "endless-body", "cut-short", "hang-up",
];

/// Pages that link to something which never ends. Few, and found early: somebody waits for each until the time is up.
const ENDLESS: [(u64, &str); 4] = [(1, "stall"), (2, "silence"), (3, "stall"), (4, "silence")];

impl Answer {
    /// The answer of a host to a request for `path`.
    pub fn to(host: u64, path: &str) -> Self {
        let mut parts = path.split('/').skip(1);
        let kind = parts.next().unwrap_or_default();
        let number = parts.next().and_then(|part| part.parse().ok()).unwrap_or(0);
        match kind {
            "" => page(host, 0),
            "page" if number < PAGES => page(host, number),
            "moved" => Self::Redirect(format!("/page/{number}")),
            "next-host" => Self::RedirectToNextHost(format!("/page/{number}")),
            "few-hops" => Self::Redirect(format!("/hop/{}", number % 8)),
            "many-hops" => Self::Redirect("/hop/20".to_owned()),
            "hop" if number > 0 => Self::Redirect(format!("/hop/{}", number - 1)),
            "hop" => page(host, 0),
            "loop" => Self::Redirect(format!("/pool/{number}")),
            "pool" => Self::Redirect(format!("/loop/{number}")),
            "away" => Self::Redirect("http://elsewhere.invalid/".to_owned()),
            "https" => Self::Redirect("https://elsewhere.invalid/".to_owned()),
            "failing" => Self::Status(500),
            "not-http" => Self::NotHttp,
            "oversize-head" => Self::OversizeHead,
            "endless-body" => Self::EndlessBody,
            "cut-short" => Self::CutShort,
            "hang-up" => Self::HangUp,
            "stall" => Self::Stall,
            "silence" => Self::Silence,
            _ => Self::Status(404),
        }
    }
}

/// An ordinary page. Pages form a tree, so that all can be reached, with links across it.
fn page(host: u64, number: u64) -> Answer {
    let mut dice = Dice::new(host, number);
    let pause = match dice.roll(50) {
        0 => Duration::from_millis(50 + dice.roll(200)),
        _ => Duration::from_micros(dice.roll(5000)),
    };
    let framing = match dice.roll(20) {
        0 => Framing::LengthThenClose,
        1 => Framing::UntilClose,
        2..=6 => Framing::Chunked,
        _ => Framing::Length,
    };
    Answer::Page {
        pause,
        html: html(number, &mut dice),
        framing,
    }
}

fn html(number: u64, dice: &mut Dice) -> String {
    let mut html = format!(
        "<!doctype html>\n<title>Page {number}</title>\n<h1>Page {number}</h1>\n<a href=\"/\">Home</a>\n"
    );
    let mut link = |to: &str| {
        // A string takes whatever is written to it.
        let _ = writeln!(html, "<p>See <a href=\"{to}\">there</a>.");
    };
    for child in (8 * number + 1..=8 * number + 8).filter(|child| *child < PAGES) {
        link(&format!("/page/{child}"));
    }
    // The same pages under other spellings.
    link(&format!("/page/{}#top", dice.roll(PAGES)));
    link(&format!("../page/./{}", dice.roll(PAGES)));
    // Nothing to fetch.
    link("mailto:somebody@example.com");
    link("http://elsewhere.invalid/");
    if dice.roll(4) == 0 {
        let oddity = ODDITIES[dice.roll(ODDITIES.len() as u64) as usize];
        link(&format!("/{oddity}/{number}"));
    }
    for (_, oddity) in ENDLESS.iter().filter(|(page, _)| *page == number) {
        link(&format!("/{oddity}/{number}"));
    }
    for _ in 0..dice.roll(200) {
        html.push_str("<p>Lorem ipsum dolor sit amet, consetetur sadipscing elitr.\n");
    }
    html
}

/// Numbers that look random and are the same in every run: SplitMix64.
struct Dice(u64);

impl Dice {
    fn new(host: u64, number: u64) -> Self {
        let mut dice = Self(SEED ^ (host << 32) ^ number);
        dice.roll(1);
        dice
    }

    /// A number below `sides`.
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % sides
    }
}
