//! The handshake (RFC 6455, 4): two heads of HTTP/1.1, written and read.

use http::header::{
    CONNECTION, HOST, HeaderMap, HeaderName, HeaderValue, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY,
    SEC_WEBSOCKET_PROTOCOL, SEC_WEBSOCKET_VERSION, UPGRADE,
};
use http::{Method, Request, Response, StatusCode, Uri, Version};
use tungstenite::handshake::client::generate_key;
use tungstenite::handshake::derive_accept_key;
use tungstenite::handshake::server::create_response;

use crate::error::HandshakeError;

/// How many headers a head may have.
const HEADERS: usize = 100;

/// What ends a head.
pub(crate) const END: &[u8] = b"\r\n\r\n";

/// What a client says, and what the server has to have made of it.
pub(crate) struct Asked {
    pub(crate) head: Vec<u8>,
    key: String,
    protocols: Vec<String>,
}

pub(crate) fn ask(
    url: &Uri,
    protocols: &[String],
    headers: &HeaderMap,
) -> Result<Asked, HandshakeError> {
    let key = generate_key();
    let authority = url
        .authority()
        .ok_or_else(|| HandshakeError::Url("it names no host".to_owned()))?;
    let place = authority.as_str().rsplit('@').next().unwrap_or_default();
    let path = url.path_and_query().map_or("/", |path| path.as_str());
    let mut head = format!(
        "GET {path} HTTP/1.1\r\nHost: {place}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {key}\r\n"
    )
    .into_bytes();
    if !protocols.is_empty() {
        line(
            &mut head,
            &SEC_WEBSOCKET_PROTOCOL,
            protocols.join(", ").as_bytes(),
        );
    }
    for (name, value) in headers {
        if ![
            HOST,
            CONNECTION,
            UPGRADE,
            SEC_WEBSOCKET_KEY,
            SEC_WEBSOCKET_VERSION,
        ]
        .contains(name)
        {
            line(&mut head, name, value.as_bytes());
        }
    }
    head.extend_from_slice(b"\r\n");
    Ok(Asked {
        head,
        key,
        protocols: protocols.to_vec(),
    })
}

fn line(head: &mut Vec<u8>, name: &HeaderName, value: &[u8]) {
    head.extend_from_slice(name.as_str().as_bytes());
    head.extend_from_slice(b": ");
    head.extend_from_slice(value);
    head.extend_from_slice(b"\r\n");
}

impl Asked {
    /// Whether the server's answer fits; gives it.
    pub(crate) fn answered(&self, head: &[u8]) -> Result<Response<()>, HandshakeError> {
        let mut headers = [httparse::EMPTY_HEADER; HEADERS];
        let mut parsed = httparse::Response::new(&mut headers);
        complete(parsed.parse(head))?;
        let status = parsed.code.and_then(|code| StatusCode::from_u16(code).ok());
        let status = status.ok_or_else(|| HandshakeError::Malformed("no status".to_owned()))?;
        if status != StatusCode::SWITCHING_PROTOCOLS {
            return Err(HandshakeError::Refused(status));
        }
        let mut response = Response::new(());
        *response.status_mut() = status;
        *response.headers_mut() = collect(parsed.headers)?;
        let headers = response.headers();
        if !has_word(headers, &UPGRADE, "websocket") {
            return Err(HandshakeError::Header("Upgrade"));
        }
        if !has_word(headers, &CONNECTION, "upgrade") {
            return Err(HandshakeError::Header("Connection"));
        }
        let expected = derive_accept_key(self.key.as_bytes());
        if headers
            .get(SEC_WEBSOCKET_ACCEPT)
            .is_none_or(|key| *key != expected)
        {
            return Err(HandshakeError::Header("Sec-WebSocket-Accept"));
        }
        let is_unasked =
            |chosen: &HeaderValue| !self.protocols.iter().any(|asked| *chosen == **asked);
        if headers.get(SEC_WEBSOCKET_PROTOCOL).is_some_and(is_unasked) {
            return Err(HandshakeError::Header("Sec-WebSocket-Protocol"));
        }
        Ok(response)
    }
}

/// What a client has asked, and the answer that agrees.
pub(crate) fn read_request(head: &[u8]) -> Result<(Request<()>, Response<()>), HandshakeError> {
    let mut headers = [httparse::EMPTY_HEADER; HEADERS];
    let mut parsed = httparse::Request::new(&mut headers);
    complete(parsed.parse(head))?;
    let malformed = |what: &str| HandshakeError::Malformed(what.to_owned());
    let mut request = Request::new(());
    let method = parsed.method.unwrap_or_default().as_bytes();
    *request.method_mut() = Method::from_bytes(method).map_err(|_| malformed("the method"))?;
    let path = parsed.path.unwrap_or_default();
    *request.uri_mut() = path.parse().map_err(|_| malformed("the path"))?;
    *request.version_mut() = match parsed.version {
        Some(1) => Version::HTTP_11,
        _ => Version::HTTP_10,
    };
    *request.headers_mut() = collect(parsed.headers)?;
    let response = agree(&request)?;
    Ok((request, response))
}

/// The answer that agrees to a request.
pub(crate) fn agree(request: &Request<()>) -> Result<Response<()>, HandshakeError> {
    create_response(request).map_err(|error| HandshakeError::Malformed(error.to_string()))
}

/// The answer, as it is sent.
pub(crate) fn write_response(response: &Response<()>) -> Vec<u8> {
    let status = response.status();
    let reason = status.canonical_reason().unwrap_or_default();
    let mut head = format!("HTTP/1.1 {} {reason}\r\n", status.as_str()).into_bytes();
    for (name, value) in response.headers() {
        line(&mut head, name, value.as_bytes());
    }
    if status != StatusCode::SWITCHING_PROTOCOLS {
        head.extend_from_slice(b"Content-Length: 0\r\nConnection: close\r\n");
    }
    head.extend_from_slice(b"\r\n");
    head
}

/// What is said to a client with whom there is no agreeing.
pub(crate) fn refusal(status: StatusCode) -> Vec<u8> {
    let mut response = Response::new(());
    *response.status_mut() = status;
    write_response(&response)
}

fn complete(
    parsed: Result<httparse::Status<usize>, httparse::Error>,
) -> Result<(), HandshakeError> {
    match parsed {
        Ok(httparse::Status::Complete(_)) => Ok(()),
        Ok(httparse::Status::Partial) => Err(HandshakeError::Malformed("half a head".to_owned())),
        Err(error) => Err(HandshakeError::Malformed(error.to_string())),
    }
}

fn collect(parsed: &[httparse::Header<'_>]) -> Result<HeaderMap, HandshakeError> {
    let mut headers = HeaderMap::new();
    for header in parsed {
        let name = HeaderName::from_bytes(header.name.as_bytes());
        let value = HeaderValue::from_bytes(header.value);
        match (name, value) {
            (Ok(name), Ok(value)) => headers.append(name, value),
            _ => return Err(HandshakeError::Malformed(format!("header {}", header.name))),
        };
    }
    Ok(headers)
}

/// Whether a header's list of words holds this one, in whatever case.
fn has_word(headers: &HeaderMap, name: &HeaderName, word: &str) -> bool {
    headers.get_all(name).iter().any(|value| {
        let value = value.to_str().unwrap_or_default();
        value
            .split(',')
            .any(|one| one.trim().eq_ignore_ascii_case(word))
    })
}
