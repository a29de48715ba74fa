//! Where a request comes from.

use std::net::SocketAddr;
use std::sync::Arc;

use rondel_net::StreamWriter;

/// Where a request comes from. Every request has it in its extensions. Cheap to clone.
///
/// ```
/// use rondel_hyper::http::Request;
/// use rondel_hyper::server::{ConnectInfo, RequestBody};
///
/// fn is_from_here(request: &Request<RequestBody>) -> bool {
///     let info = request.extensions().get::<ConnectInfo>();
///     info.and_then(ConnectInfo::peer).is_some_and(|peer| peer.ip().is_loopback())
/// }
/// ```
#[derive(Clone, Debug)]
pub struct ConnectInfo(Arc<Info>);

#[derive(Debug)]
struct Info {
    peer: Option<SocketAddr>,
    local: Option<SocketAddr>,
    #[cfg(feature = "tls-core")]
    tls: Option<rondel_net::tls::SessionInfo>,
}

impl ConnectInfo {
    pub(super) fn of(writer: &StreamWriter) -> Self {
        Self(Arc::new(Info {
            peer: writer.peer_addr(),
            local: writer.local_addr().ok(),
            #[cfg(feature = "tls-core")]
            tls: writer.tls(),
        }))
    }

    /// The other end; `None` if it is none of the Internet's.
    pub fn peer(&self) -> Option<SocketAddr> {
        self.0.peer
    }

    /// This end; likewise.
    pub fn local(&self) -> Option<SocketAddr> {
        self.0.local
    }

    /// What TLS has agreed on, if the connection is encrypted.
    #[cfg(feature = "tls-core")]
    #[cfg_attr(docsrs, doc(cfg(feature = "tls-core")))]
    pub fn tls(&self) -> Option<&rondel_net::tls::SessionInfo> {
        self.0.tls.as_ref()
    }
}
