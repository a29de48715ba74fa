//! What a host allows, by its `robots.txt` (RFC 9309).

use robotxt::Robots;

use crate::failure::Failure;
use crate::fetch::{Answer, Fetcher};
use crate::hosts::Host;

/// The name by which `robots.txt` may speak of this crawler.
const NAME: &str = "rondel-crawler";

/// RFC 9309, 2.3.1.2: at least so many are followed, to whatever host they lead.
const MOST_REDIRECTS: usize = 5;

/// What the host allows. Whoever comes first asks it, with the right to a request that it has; the others wait for the answer.
///
/// A host that cannot say what it allows is not asked for anything else: its pages fail as its `robots.txt` did.
pub async fn rules_of<'a>(fetcher: &Fetcher, host: &'a Host) -> Result<&'a Robots, Failure> {
    host.rules
        .get_or_try_init(async || {
            let answer = ask(fetcher, host).await?;
            let rules = match answer.status.as_u16() {
                200..300 => Robots::parse(&answer.body, NAME),
                status @ 500.. => return Err(Failure::Status(status)),
                // There is none, or it is not for us to see.
                _ => Robots::allow_all(),
            };
            if let Some(delay) = rules.crawl_delay() {
                host.slow_down(delay);
            }
            Ok(rules)
        })
        .await
}

async fn ask(fetcher: &Fetcher, host: &Host) -> Result<Answer, Failure> {
    let mut url = host.at("/robots.txt")?;
    let mut redirects = 0;
    loop {
        let answer = fetcher.get(&url).await?;
        let next = answer.redirect().flatten().and_then(|to| url.join(to).ok());
        match next {
            Some(next) if redirects < MOST_REDIRECTS => url = next,
            _ => return Ok(answer),
        }
        redirects += 1;
    }
}
