//! What rustls says of a failure, in words for whoever has to mend it.

use std::fmt;
use std::time::Duration;

use rustls::pki_types::{ServerName, UnixTime};
use rustls::{AlertDescription, CertificateError, InvalidMessage};

/// Names above this are counted, not listed.
const NAMES: usize = 5;

pub(super) fn in_words(error: &rustls::Error) -> String {
    match error {
        rustls::Error::InvalidCertificate(error) => of_certificate(error),
        rustls::Error::AlertReceived(alert) => format!("the peer refused: {}", of_alert(*alert)),
        rustls::Error::NoCertificatesPresented => "the peer showed no certificate".to_owned(),
        rustls::Error::NoApplicationProtocol => {
            "the two ends have no application protocol (ALPN) in common".to_owned()
        }
        rustls::Error::InvalidMessage(InvalidMessage::InvalidContentType) => {
            "what the peer sends is not TLS".to_owned()
        }
        error => error.to_string(),
    }
}

fn of_certificate(error: &CertificateError) -> String {
    match error {
        CertificateError::Expired => "the peer's certificate has expired".to_owned(),
        CertificateError::ExpiredContext { time, not_after } => format!(
            "the peer's certificate expired {} ago",
            Span::between(*not_after, *time)
        ),
        CertificateError::NotValidYet => "the peer's certificate is not valid yet".to_owned(),
        CertificateError::NotValidYetContext { time, not_before } => format!(
            "the peer's certificate becomes valid in {}; is the clock right?",
            Span::between(*time, *not_before)
        ),
        CertificateError::NotValidForName => {
            "the peer's certificate is for another host".to_owned()
        }
        CertificateError::NotValidForNameContext {
            expected,
            presented,
        } => of_names(expected, presented),
        CertificateError::UnknownIssuer => {
            "the peer's certificate comes from an issuer that is not trusted here".to_owned()
        }
        CertificateError::Revoked => "the peer's certificate has been revoked".to_owned(),
        CertificateError::BadSignature => {
            "the signature on the peer's certificate is wrong".to_owned()
        }
        CertificateError::BadEncoding => "the peer's certificate is malformed".to_owned(),
        error => format!("the peer's certificate is not acceptable: {error}"),
    }
}

fn of_names(expected: &ServerName<'static>, presented: &[String]) -> String {
    let expected = expected.to_str();
    if presented.is_empty() {
        return format!("the peer's certificate names no host, so it is not for {expected}");
    }
    let listed: Vec<_> = presented
        .iter()
        .take(NAMES)
        .map(|name| host(name))
        .collect();
    let more = match presented.len().checked_sub(NAMES) {
        None | Some(0) => String::new(),
        Some(more) => format!(" and {more} more"),
    };
    format!(
        "the peer's certificate is for {}{more}, not for {expected}",
        listed.join(", ")
    )
}

/// `DnsName("a.test")` as rustls gives names, without the wrapping.
fn host(presented: &str) -> &str {
    presented
        .split_once('"')
        .and_then(|(_, rest)| rest.rsplit_once('"'))
        .map_or(presented, |(name, _)| name)
}

fn of_alert(alert: AlertDescription) -> String {
    let words = match alert {
        AlertDescription::UnknownCA => "it does not trust the issuer of our certificate",
        AlertDescription::BadCertificate => "it does not like our certificate",
        AlertDescription::CertificateExpired => "our certificate has expired",
        AlertDescription::CertificateRequired => "it wants a client certificate",
        AlertDescription::CertificateUnknown => "it does not accept our certificate",
        AlertDescription::HandshakeFailure => {
            "the two ends have no cipher suite or parameters in common"
        }
        AlertDescription::ProtocolVersion => "it does not speak this version of TLS",
        AlertDescription::UnrecognisedName => "it does not serve this host name",
        AlertDescription::NoApplicationProtocol => {
            "it does not speak any of our application protocols (ALPN)"
        }
        AlertDescription::AccessDenied => "access denied",
        alert => return format!("alert {alert:?}"),
    };
    words.to_owned()
}

/// A span of time as people say it, in its largest unit.
struct Span(Duration);

impl Span {
    fn between(earlier: UnixTime, later: UnixTime) -> Self {
        Self(Duration::from_secs(
            later.as_secs().saturating_sub(earlier.as_secs()),
        ))
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const UNITS: [(u64, &str); 4] = [
            (24 * 60 * 60, "day"),
            (60 * 60, "hour"),
            (60, "minute"),
            (1, "second"),
        ];
        let seconds = self.0.as_secs();
        let (length, unit) = UNITS
            .into_iter()
            .find(|(length, _)| seconds >= *length)
            .unwrap_or((1, "second"));
        let count = seconds / length;
        write!(f, "{count} {unit}{}", if count == 1 { "" } else { "s" })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_are_told_in_their_largest_unit() {
        for (seconds, words) in [
            (0, "0 seconds"),
            (1, "1 second"),
            (59, "59 seconds"),
            (60, "1 minute"),
            (7_200, "2 hours"),
            (200_000, "2 days"),
        ] {
            assert_eq!(Span(Duration::from_secs(seconds)).to_string(), words);
        }
    }

    #[test]
    fn a_wrong_host_is_told_with_the_names_the_certificate_has() {
        let expected = ServerName::try_from("example.test").unwrap();
        let presented: Vec<_> = (0..7).map(|n| format!("DnsName(\"h{n}.test\")")).collect();
        assert_eq!(
            of_names(&expected, &presented),
            "the peer's certificate is for h0.test, h1.test, h2.test, h3.test, h4.test and 2 more, not for example.test"
        );
        assert!(of_names(&expected, &[]).contains("names no host"));
    }
}
