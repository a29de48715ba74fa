//! nginx, as a reference for the workloads of HTTP: what a server costs that is written for nothing else.
//!
//! Debian's package has it; where it is missing it is skipped.

use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::os::fd::IntoRawFd;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs, process};

use rustix::io::{FdFlags, fcntl_setfd};

use super::contender::{Announce, Contender, WORKERS};
use crate::workloads::jobs::no_job;
use crate::workloads::net::HELLO;

pub(super) const CONTENDER: Contender = Contender {
    name: "nginx",
    what: "nginx answering from its configuration, without a log",
    needs: Some("nginx"),
    micro: no_job,
    serve: None,
    serve_datagrams: None,
    serve_tls: None,
    serve_http: Some(serve_alone),
    serve_http_by_workers: Some(serve_by_workers),
};

fn serve_alone(listener: TcpListener) -> io::Result<()> {
    become_nginx(listener, 1)
}

fn serve_by_workers(announce: Announce<'_>) -> io::Result<()> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    announce(listener.local_addr()?.port())?;
    become_nginx(listener, WORKERS)
}

/// Gives this process to nginx, with the listener, as a running nginx gives its own to the next version.
fn become_nginx(listener: TcpListener, workers: usize) -> io::Result<()> {
    let addr = listener.local_addr()?;
    fcntl_setfd(&listener, FdFlags::empty())?;
    let inherited = format!("{};", listener.into_raw_fd());
    let folder = env::temp_dir().join(format!("rondel-bench-nginx-{}", process::id()));
    fs::create_dir_all(&folder)?;
    let configuration = folder.join("nginx.conf");
    fs::write(&configuration, text(addr, workers, &folder))?;
    Err(Command::new("nginx")
        .arg("-p")
        .arg(&folder)
        .arg("-c")
        .arg(&configuration)
        .args(["-e", "stderr"])
        .env("NGINX", inherited)
        .exec())
}

fn text(addr: SocketAddr, workers: usize, folder: &Path) -> String {
    let place = |name: &str| PathBuf::from(folder).join(name).display().to_string();
    let (pid, body, proxy) = (place("pid"), place("body"), place("proxy"));
    let (fastcgi, uwsgi, scgi) = (place("fastcgi"), place("uwsgi"), place("scgi"));
    format!(
        "daemon off;
         worker_processes {workers};
         worker_rlimit_nofile 20000;
         pid {pid};
         error_log stderr crit;
         events {{ worker_connections 15000; }}
         http {{
             access_log off;
             keepalive_timeout 3600s;
             keepalive_requests 1000000000;
             client_body_temp_path {body};
             proxy_temp_path {proxy};
             fastcgi_temp_path {fastcgi};
             uwsgi_temp_path {uwsgi};
             scgi_temp_path {scgi};
             server {{
                 listen {addr} backlog=4096;
                 location / {{ return 200 \"{HELLO}\"; }}
             }}
         }}
"
    )
}
