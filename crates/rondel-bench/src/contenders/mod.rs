//! The contenders, one file each. What they do not do is not run, and said so.
//!
//! A runtime joins by one file and one line in `CONTENDERS`: the traits of `workloads/runtime.rs` are what the
//! in-process workloads ask of it, and `serve` is its echo server.

mod contender;
mod limit;
mod limit_task;
mod monoio;
mod nginx;
mod rondel;
mod rondel_guest;
mod rondel_http;
mod rondel_server;
mod smol;
mod tokio;
mod tokio_tuned;

pub(crate) use contender::Contender;

/// The one that all others are put in proportion to.
pub(crate) const BASELINE: &str = "tokio";

pub(crate) const CONTENDERS: &[Contender] = &[
    rondel::CONTENDER,
    rondel::PROTOCOL,
    rondel_http::CONTENDER,
    rondel_guest::CONTENDER,
    tokio::CONTENDER,
    tokio_tuned::CONTENDER,
    smol::CONTENDER,
    monoio::CONTENDER,
    limit::CONTENDER,
    limit_task::CONTENDER,
    nginx::CONTENDER,
];

/// The contender of that name; the error names those there are.
pub(crate) fn find(name: &str) -> Result<&'static Contender, String> {
    CONTENDERS
        .iter()
        .find(|contender| contender.name == name)
        .ok_or_else(|| {
            let known: Vec<_> = CONTENDERS.iter().map(|contender| contender.name).collect();
            format!("no such contender; there are {}", known.join(", "))
        })
}

/// The named contenders, or all, in the order of the table.
pub(crate) fn selected(named: &[&'static Contender]) -> Vec<&'static Contender> {
    CONTENDERS
        .iter()
        .filter(|c| named.is_empty() || named.contains(c))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_contender_is_found_and_the_baseline_is_one() {
        for contender in CONTENDERS {
            assert_eq!(find(contender.name), Ok(contender));
        }
        assert!(find(BASELINE).is_ok());
        assert!(find("async-std").unwrap_err().contains("tokio-tuned"));
    }
}
