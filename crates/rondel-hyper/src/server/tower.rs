//! tower's services, served as they are.

use http::Request;
use hyper_util::service::TowerToHyperService;
use tower_service::Service;

use super::body::RequestBody;

/// Makes a service for [`HttpServer::serve`](crate::HttpServer::serve) of one of tower's: an axum `Router` for instance, built
/// without axum's own feature `tokio`.
///
/// It is cloned for each request, and asked whether it is ready.
pub fn tower<S>(service: S) -> TowerToHyperService<S>
where
    S: Service<Request<RequestBody>> + Clone,
{
    TowerToHyperService::new(service)
}
