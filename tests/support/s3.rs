//! A real S3 server for tests, over HTTP or HTTPS, on a thread of its own: s3s reads the wire (signatures, chunked
//! bodies, trailers, XML), and `bucket` keeps what was stored in a temporary directory. Every request is logged, and a
//! hook decides for each whether it is served, refused, cut or left waiting.

#![allow(dead_code, reason = "each test binary uses a part of it")]
#![allow(clippy::disallowed_methods, reason = "a server of its own")]

#[path = "s3/bucket.rs"]
mod bucket;
#[path = "s3/listing.rs"]
mod listing;
#[path = "s3/service.rs"]
mod service;
#[path = "s3/tls.rs"]
mod tls;

pub use bucket::{Object, Upload};

use crate::far;
use bucket::Buckets;
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use s3s::service::{S3Service, S3ServiceBuilder};
use std::net::{SocketAddr, TcpListener};
use std::os::fd::AsFd;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, SystemTime};
use tokio::io::{AsyncRead, AsyncWrite, Interest};
use tokio_rustls::TlsAcceptor;

/// The only credentials that are accepted.
pub const ACCESS_KEY: &str = "AKIATESTTESTTESTTEST";
/// Their secret.
pub const SECRET_KEY: &str = "not-a-secret-at-all";

/// A request as it came in.
#[derive(Clone, Debug)]
pub struct Seen {
    /// `PUT`, `GET`, ...
    pub method: String,
    /// The bucket, decoded.
    pub bucket: String,
    /// The key, decoded; empty for requests to a bucket.
    pub key: String,
    /// The query, as it came.
    pub query: String,
    /// Names in small letters.
    pub headers: Vec<(String, String)>,
}

impl Seen {
    /// A header's value.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// Whether it stores bytes of an archive: `PutObject` or `UploadPart`.
    pub fn is_upload(&self) -> bool {
        self.method == "PUT" && !self.key.is_empty() && far::is_archive(&self.key)
    }

    /// Whether it stores a manifest.
    pub fn is_manifest(&self) -> bool {
        self.method == "PUT" && far::is_manifest(&self.key)
    }

    /// Whether it is a `CreateMultipartUpload`.
    pub fn is_begin(&self) -> bool {
        self.method == "POST" && self.query.starts_with("uploads")
    }

    /// The number of the part, if it is an `UploadPart`.
    pub fn part(&self) -> Option<u32> {
        let number = self.query.split('&').find_map(|pair| pair.strip_prefix("partNumber="))?;
        (self.method == "PUT").then(|| number.parse().unwrap())
    }

    /// How many bytes it stores.
    pub fn len(&self) -> u64 {
        let header = self.header("x-amz-decoded-content-length").or(self.header("content-length"));
        header.and_then(|len| len.parse().ok()).unwrap_or(0)
    }

    /// Whether it is a `CompleteMultipartUpload`.
    pub fn is_complete(&self) -> bool {
        self.method == "POST" && self.query.contains("uploadId=")
    }

    /// The region that it was signed for.
    pub fn region(&self) -> Option<&str> {
        self.header("authorization")?.split("Credential=").nth(1)?.split('/').nth(2)
    }

    /// Whether it carries or announces a checksum other than `Content-MD5`.
    pub fn has_checksum(&self) -> bool {
        let checksum = |name: &str| {
            name.starts_with("x-amz-checksum-") || name == "x-amz-sdk-checksum-algorithm" || name == "x-amz-trailer"
        };
        self.headers.iter().any(|(name, _)| checksum(name))
    }
}

/// What becomes of a request.
#[derive(Clone, Debug)]
pub enum Fault {
    /// It is served.
    None,
    /// It is read and refused.
    Refuse {
        /// HTTP status.
        status: u16,
        /// S3's error code; empty for an answer without a body.
        code: &'static str,
        /// More headers of the answer.
        headers: Vec<(&'static str, &'static str)>,
    },
    /// The connection is closed once the request's head is read.
    Cut,
    /// Nothing is read and nothing is answered.
    Stall,
    /// Everything is read and nothing is answered.
    Swallow,
    /// It is served, but the connection is closed instead of answering.
    DropAnswer,
    /// It is served, and nothing is answered as long as the client waits.
    HoldAnswer,
    /// It is served, and the connection is closed behind so many bytes of the answer's body.
    CutBody(usize),
    /// It is read, not served, and answered with success and a page of something else.
    Garbage,
    /// It is served as if these headers had not been sent.
    Ignore(&'static [&'static str]),
}

impl Fault {
    /// A refusal with a status and a code.
    pub fn refuse(status: u16, code: &'static str) -> Self {
        Self::Refuse { status, code, headers: Vec::new() }
    }
}

/// A hook for servers that know no conditional writes, and say so.
pub fn without_conditions(seen: &Seen) -> Fault {
    if seen.header("if-none-match").is_some() { Fault::refuse(501, "NotImplemented") } else { Fault::None }
}

/// A hook for servers that know no checksums but `Content-MD5`, and say so.
pub fn without_checksums(seen: &Seen) -> Fault {
    if seen.has_checksum() { Fault::refuse(501, "NotImplemented") } else { Fault::None }
}

/// A hook for servers that know neither.
pub fn without_both(seen: &Seen) -> Fault {
    match without_conditions(seen) {
        Fault::None => without_checksums(seen),
        refusal => refusal,
    }
}

type Hook = Arc<dyn Fn(&Seen) -> Fault + Send + Sync>;

struct Shared {
    buckets: Arc<Buckets>,
    log: Mutex<Vec<Seen>>,
    news: Condvar,
    hook: Mutex<Hook>,
    /// Connections that are open.
    open: AtomicUsize,
}

/// A socket that has an address and does not listen: whoever connects is refused.
fn keep(address: SocketAddr) -> std::os::fd::OwnedFd {
    use nix::sys::socket::{AddressFamily, SockFlag, SockType, SockaddrIn, SockaddrIn6};
    use nix::sys::socket::{bind, setsockopt, socket, sockopt};
    use std::os::fd::AsRawFd;
    let family = if address.is_ipv4() { AddressFamily::Inet } else { AddressFamily::Inet6 };
    let kept = socket(family, SockType::Stream, SockFlag::SOCK_CLOEXEC, None).unwrap();
    setsockopt(&kept, sockopt::ReuseAddr, &true).unwrap();
    // Who listened there lets go of it in a moment.
    let bound = (0..2000).any(|_| {
        let bound = match address {
            SocketAddr::V4(address) => bind(kept.as_raw_fd(), &SockaddrIn::from(address)),
            SocketAddr::V6(address) => bind(kept.as_raw_fd(), &SockaddrIn6::from(address)),
        };
        if bound.is_err() {
            std::thread::sleep(Duration::from_millis(5));
        }
        bound.is_ok()
    });
    assert!(bound, "{address} is somebody else's");
    kept
}

/// The server.
pub struct S3Server {
    shared: Arc<Shared>,
    address: SocketAddr,
    tls: Option<TlsAcceptor>,
    running: Mutex<Option<(tokio::sync::oneshot::Sender<()>, JoinHandle<()>)>>,
    /// While it is stopped: keeps the port from everybody else's servers.
    kept: Mutex<Option<std::os::fd::OwnedFd>>,
}

impl S3Server {
    /// Starts a server on a free port of the loopback interface.
    pub fn start() -> Self {
        Self::on(None)
    }

    /// The same over HTTPS, with a certificate of the CA in [`S3Server::ca_file`].
    pub fn start_tls() -> Self {
        Self::on(Some(tls::acceptor()))
    }

    fn on(tls: Option<TlsAcceptor>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Arc::new(Shared {
            buckets: Arc::new(Buckets::new()),
            log: Mutex::default(),
            news: Condvar::new(),
            hook: Mutex::new(Arc::new(|_| Fault::None)),
            open: AtomicUsize::new(0),
        });
        let server = Self { shared, address, tls, running: Mutex::new(None), kept: Mutex::default() };
        server.run(listener);
        server
    }

    /// Stops listening and breaks every connection; what is stored stays.
    pub fn stop(&self) {
        if let Some((stop, thread)) = self.running.lock().unwrap().take() {
            _ = stop.send(());
            thread.join().unwrap();
            *self.kept.lock().unwrap() = Some(keep(self.address));
        }
    }

    /// Listens again, on the same port.
    pub fn resume(&self) {
        drop(self.kept.lock().unwrap().take());
        self.run(TcpListener::bind(self.address).unwrap());
    }

    fn run(&self, listener: TcpListener) {
        let (stop, stopped) = tokio::sync::oneshot::channel();
        let (shared, tls) = (self.shared.clone(), self.tls.clone());
        let serve = move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                tokio::select! {
                    () = accept(listener, &shared, tls) => {}
                    _ = stopped => {}
                }
            });
            runtime.shutdown_background();
        };
        let thread = std::thread::Builder::new().name("s3 server".to_owned()).spawn(serve).unwrap();
        *self.running.lock().unwrap() = Some((stop, thread));
    }

    /// The URL of the server.
    pub fn endpoint(&self) -> String {
        let scheme = if self.tls.is_some() { "https" } else { "http" };
        format!("{scheme}://{}", self.address)
    }

    /// The certificate of the CA that signs every server's in this process, as `SSL_CERT_FILE` wants it.
    pub fn ca_file() -> &'static Path {
        tls::ca_file()
    }

    /// The environment that lets a program use this server.
    pub fn environment(&self) -> Vec<(&'static str, String)> {
        let mut variables = environment();
        variables.push(("AWS_ENDPOINT_URL", self.endpoint()));
        variables
    }

    /// Decides from now on what becomes of each request.
    pub fn set_fault(&self, hook: impl Fn(&Seen) -> Fault + Send + Sync + 'static) {
        *self.shared.hook.lock().unwrap() = Arc::new(hook);
    }

    /// Serves everything again.
    pub fn clear_fault(&self) {
        self.set_fault(|_| Fault::None);
    }

    /// Every request so far, in the order in which their heads were read.
    pub fn requests(&self) -> Vec<Seen> {
        self.shared.log.lock().unwrap().clone()
    }

    /// Forgets them.
    pub fn clear_requests(&self) {
        self.shared.log.lock().unwrap().clear();
    }

    /// Waits until the requests so far satisfy a condition; false if that takes longer than `limit`.
    pub fn wait_until(&self, limit: Duration, done: impl Fn(&[Seen]) -> bool) -> bool {
        let log = self.shared.log.lock().unwrap();
        let (_log, wait) = self.shared.news.wait_timeout_while(log, limit, |log| !done(log)).unwrap();
        !wait.timed_out()
    }

    /// Whether nobody is connected any more, so that nothing that was asked for is still to come.
    pub fn is_deserted(&self) -> bool {
        self.shared.open.load(Ordering::SeqCst) == 0
    }

    /// Creates an empty bucket.
    pub fn create_bucket(&self, name: &str) {
        self.shared.buckets.create(name);
    }

    /// Removes a bucket with all that is in it.
    pub fn remove_bucket(&self, name: &str) {
        self.shared.buckets.remove_bucket(name);
    }

    /// Stores an object without a request.
    pub fn put_object(&self, bucket: &str, key: &str, data: &[u8]) {
        self.put_object_of(bucket, key, data, SystemTime::now());
    }

    /// The same; as if that had been then.
    pub fn put_object_of(&self, bucket: &str, key: &str, data: &[u8], modified: SystemTime) {
        self.shared.buckets.put(bucket, key, data, modified);
    }

    /// Says from now on another checksum of an object than its own; one with a dash is that of its parts' checksums.
    pub fn set_checksum(&self, bucket: &str, key: &str, checksum: &str) {
        self.shared.buckets.set_checksum(bucket, key, checksum);
    }

    /// How many entries an answer to a listing has at most.
    pub fn set_page(&self, most: usize) {
        self.shared.buckets.page.store(most, std::sync::atomic::Ordering::Relaxed);
    }

    /// Removes an object without a request.
    pub fn remove_object(&self, bucket: &str, key: &str) {
        self.shared.buckets.remove(bucket, key);
    }

    /// An object.
    pub fn object(&self, bucket: &str, key: &str) -> Option<Object> {
        self.shared.buckets.object(bucket, key)
    }

    /// The keys of the archives in a bucket, sorted. What stands beside them is proved.
    #[track_caller]
    pub fn keys(&self, bucket: &str) -> Vec<String> {
        let (all, others) = self.shared.buckets.all(bucket);
        let others: Vec<_> = others.iter().map(String::as_str).collect();
        far::proved(all, &others).into_keys().collect()
    }

    /// The keys of the archives in a bucket, sorted, also while it changes: nothing is proved.
    pub fn archives(&self, bucket: &str) -> Vec<String> {
        self.all_keys(bucket).into_iter().filter(|key| far::is_archive(key)).collect()
    }

    /// Whether each archive in a bucket that the test did not put there has a manifest beside it. For who waits: nothing is proved.
    pub fn is_told(&self, bucket: &str) -> bool {
        let mut keys = self.all_keys(bucket);
        keys.retain(|key| !self.object(bucket, key).is_some_and(|object| object.put_by_test));
        far::is_told(&keys)
    }

    /// Whether so many archives stand in a bucket, each with a manifest beside it.
    pub fn has_told(&self, bucket: &str, archives: usize) -> bool {
        self.archives(bucket).len() == archives && self.is_told(bucket)
    }

    /// All keys of a bucket, sorted.
    pub fn all_keys(&self, bucket: &str) -> Vec<String> {
        self.shared.buckets.keys(bucket)
    }

    /// Forgets all multipart uploads, as a lifecycle rule does.
    pub fn expire_uploads(&self) {
        self.shared.buckets.expire_uploads();
    }

    /// The multipart uploads that are neither completed nor aborted.
    pub fn open_uploads(&self) -> Vec<Upload> {
        self.shared.buckets.open_uploads()
    }
}

impl Drop for S3Server {
    fn drop(&mut self) {
        self.stop();
    }
}

/// The environment that a program needs for any of these servers, without the endpoint.
pub fn environment() -> Vec<(&'static str, String)> {
    vec![
        ("AWS_ACCESS_KEY_ID", ACCESS_KEY.to_owned()),
        ("AWS_SECRET_ACCESS_KEY", SECRET_KEY.to_owned()),
        ("AWS_EC2_METADATA_DISABLED", "true".to_owned()),
        ("AWS_CONFIG_FILE", "/dev/null".to_owned()),
        ("AWS_SHARED_CREDENTIALS_FILE", "/dev/null".to_owned()),
        ("SSL_CERT_FILE", tls::ca_file().display().to_string()),
    ]
}

async fn accept(listener: TcpListener, shared: &Arc<Shared>, tls: Option<TlsAcceptor>) {
    listener.set_nonblocking(true).unwrap();
    let listener = tokio::net::TcpListener::from_std(listener).unwrap();
    let mut builder = S3ServiceBuilder::new(service::Service(shared.buckets.clone()));
    builder.set_auth(s3s::auth::SimpleAuth::from_single(ACCESS_KEY, SECRET_KEY));
    let service = builder.build();
    loop {
        let Ok((socket, _)) = listener.accept().await else { continue };
        _ = socket.set_nodelay(true);
        let (shared, service, tls) = (shared.clone(), service.clone(), tls.clone());
        shared.open.fetch_add(1, Ordering::SeqCst);
        let client = Client::of(&socket);
        tokio::spawn(async move {
            let _connected = Connected(shared.clone());
            match tls {
                None => connection(socket, client, shared, service).await,
                Some(tls) => {
                    if let Ok(socket) = tls.accept(socket).await {
                        connection(socket, client, shared, service).await;
                    }
                }
            }
        });
    }
}

/// Counts a connection until it is closed.
struct Connected(Arc<Shared>);

impl Drop for Connected {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Ordering::SeqCst);
    }
}

/// Whoever is at the other end of a connection.
#[derive(Clone)]
struct Client(Arc<tokio::net::TcpStream>);

impl Client {
    fn of(socket: &tokio::net::TcpStream) -> Self {
        let copy = std::net::TcpStream::from(socket.as_fd().try_clone_to_owned().unwrap());
        Self(Arc::new(tokio::net::TcpStream::from_std(copy).unwrap()))
    }

    /// Waits until it is gone, whatever of its request was read.
    async fn gone(&self) {
        while self.0.ready(Interest::READABLE).await.is_ok_and(|ready| !ready.is_read_closed()) {
            // What there is to read is for others: the next news is waited for.
            _ = self.0.try_io(Interest::READABLE, || Err::<(), _>(std::io::ErrorKind::WouldBlock.into()));
        }
    }
}

async fn connection(
    socket: impl AsyncRead + AsyncWrite + Unpin,
    client: Client,
    shared: Arc<Shared>,
    service: S3Service,
) {
    let answer = service_fn(|request| handle(request, client.clone(), shared.clone(), service.clone()));
    _ = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(socket), answer).await;
}

/// Answers a request; an error closes the connection.
async fn handle(
    mut request: hyper::Request<Incoming>,
    client: Client,
    shared: Arc<Shared>,
    service: S3Service,
) -> Result<hyper::Response<s3s::Body>, s3s::HttpError> {
    let seen = seen(&request);
    let hook = shared.hook.lock().unwrap().clone();
    let fault = hook(&seen);
    shared.log.lock().unwrap().push(seen);
    shared.news.notify_all();
    let closed = || s3s::HttpError::new("connection closed by the test".into());
    match fault {
        Fault::None => {}
        Fault::Ignore(names) => {
            request.extensions_mut().insert(bucket::Ignored(names));
        }
        Fault::Cut => return Err(closed()),
        Fault::Stall => {
            client.gone().await;
            return Err(closed());
        }
        Fault::Swallow => {
            drain(request).await;
            client.gone().await;
            return Err(closed());
        }
        Fault::DropAnswer => {
            service.call(request.map(s3s::Body::from)).await?;
            return Err(closed());
        }
        Fault::HoldAnswer => {
            service.call(request.map(s3s::Body::from)).await?;
            client.gone().await;
            return Err(closed());
        }
        Fault::CutBody(most) => {
            let (head, body) = service.call(request.map(s3s::Body::from)).await?.into_parts();
            let all = body.collect().await.map_err(|_| closed())?.to_bytes();
            let begin = hyper::body::Frame::data(all.slice(..most.min(all.len())));
            let broken = async {
                // What is before it is sent first.
                tokio::task::yield_now().await;
                Err(std::io::Error::other("cut by the test"))
            };
            let begin = std::future::ready(Ok(begin));
            let parts =
                futures_util::StreamExt::chain(futures_util::stream::once(begin), futures_util::stream::once(broken));
            let body = http_body_util::StreamBody::new(parts);
            return Ok(hyper::Response::from_parts(head, s3s::Body::http_body_unsync(body)));
        }
        Fault::Garbage => {
            drain(request).await;
            let page = "<html><body>It works!</body></html>".to_owned();
            return hyper::Response::builder().status(200).body(page.into()).map_err(|e| s3s::HttpError::new(e.into()));
        }
        Fault::Refuse { status, code, headers } => {
            drain(request).await;
            let mut answer = hyper::Response::builder().status(status);
            for (name, value) in headers {
                answer = answer.header(name, value);
            }
            let text = format!("<Error><Code>{code}</Code><Message>said the test</Message></Error>");
            let text = if code.is_empty() { String::new() } else { text };
            return answer.body(text.into()).map_err(|e| s3s::HttpError::new(e.into()));
        }
    }
    service.call(request.map(s3s::Body::from)).await
}

async fn drain(request: hyper::Request<Incoming>) {
    let mut body = request.into_body();
    while let Some(Ok(_)) = body.frame().await {}
}

fn seen(request: &hyper::Request<Incoming>) -> Seen {
    let path = decode(request.uri().path().trim_start_matches('/'));
    let (bucket, key) = path.split_once('/').unwrap_or((&path, ""));
    let header = |(name, value): (&hyper::header::HeaderName, &hyper::header::HeaderValue)| {
        (name.as_str().to_owned(), String::from_utf8_lossy(value.as_bytes()).into_owned())
    };
    Seen {
        method: request.method().to_string(),
        bucket: bucket.to_owned(),
        key: key.to_owned(),
        query: request.uri().query().unwrap_or_default().to_owned(),
        headers: request.headers().iter().map(header).collect(),
    }
}

fn decode(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, tail @ ..] = rest {
        let hex = tail.get(..2).and_then(|hex| u8::from_str_radix(std::str::from_utf8(hex).ok()?, 16).ok());
        match (first, hex) {
            (b'%', Some(byte)) => {
                bytes.push(byte);
                rest = &tail[2..];
            }
            _ => {
                bytes.push(*first);
                rest = tail;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}
