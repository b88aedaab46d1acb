//! Small HTTP endpoints that hand out credentials, as STS, the container agent and the instance metadata do.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

/// A request as it came in.
#[derive(Clone, Debug, Default)]
pub struct Asked {
    /// `GET`, `POST`, ...
    pub method: String,
    /// The path, with the query.
    pub path: String,
    /// Names in small letters.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: String,
}

impl Asked {
    /// A header's value.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// A field of a body that is a form, as it came.
    pub fn field(&self, name: &str) -> Option<&str> {
        self.body.split('&').find_map(|pair| pair.strip_prefix(name)?.strip_prefix('='))
    }
}

/// An answer: HTTP status and body.
pub type Answer = (u16, String);

type Answers = dyn Fn(&Asked) -> Answer + Send + Sync;

/// An endpoint on a free port of the loopback interface. Its threads end with the test.
pub struct Endpoint {
    address: SocketAddr,
    asked: Arc<Mutex<Vec<Asked>>>,
}

impl Endpoint {
    /// Answers every request.
    pub fn start(answers: impl Fn(&Asked) -> Answer + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let asked = Arc::new(Mutex::new(Vec::new()));
        let (log, answers): (_, Arc<Answers>) = (asked.clone(), Arc::new(answers));
        std::thread::spawn(move || {
            for socket in listener.incoming().flatten() {
                let (log, answers) = (log.clone(), answers.clone());
                std::thread::spawn(move || _ = serve(&socket, &log, &*answers));
            }
        });
        Self { address, asked }
    }

    /// STS: these credentials for each role that is asked for.
    pub fn sts(key: &'static str, secret: &'static str) -> Self {
        Self::start(move |asked| {
            let action = asked.field("Action").unwrap_or_default().to_owned();
            let body = format!(
                "<{action}Response xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\"><{action}Result><Credentials>\
                 <AccessKeyId>{key}</AccessKeyId><SecretAccessKey>{secret}</SecretAccessKey>\
                 <SessionToken>{TOKEN}</SessionToken><Expiration>{NEVER}</Expiration></Credentials>\
                 <AssumedRoleUser><AssumedRoleId>AROA:logjam</AssumedRoleId><Arn>arn:aws:sts::1:assumed-role/r/s</Arn>\
                 </AssumedRoleUser></{action}Result></{action}Response>"
            );
            (200, body)
        })
    }

    /// Its URL.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Every request so far.
    pub fn asked(&self) -> Vec<Asked> {
        self.asked.lock().unwrap().clone()
    }
}

/// The session token that is handed out.
pub const TOKEN: &str = "session-token-of-the-test";
/// When it expires.
const NEVER: &str = "2099-01-01T00:00:00Z";

/// Credentials as the container agent and the instance metadata write them.
pub fn json(key: &str, secret: &str) -> String {
    format!(
        "{{\"Code\":\"Success\",\"Type\":\"AWS-HMAC\",\"LastUpdated\":\"2020-01-01T00:00:00Z\",\"AccessKeyId\":\"{key}\",\
         \"SecretAccessKey\":\"{secret}\",\"Token\":\"{TOKEN}\",\"Expiration\":\"{NEVER}\"}}"
    )
}

fn serve(mut socket: &TcpStream, log: &Mutex<Vec<Asked>>, answers: &Answers) -> std::io::Result<()> {
    let mut reader = BufReader::new(socket);
    let mut line = String::new();
    reader.read_line(&mut line)?;
    let mut words = line.split_whitespace().map(str::to_owned);
    let mut next = || words.next().unwrap_or_default();
    let mut asked = Asked { method: next(), path: next(), ..Asked::default() };
    loop {
        let mut line = String::new();
        reader.read_line(&mut line)?;
        let Some((name, value)) = line.trim_end().split_once(':') else { break };
        asked.headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
    }
    let length = asked.header("content-length").and_then(|length| length.parse().ok()).unwrap_or(0);
    let mut body = vec![0; length];
    reader.read_exact(&mut body)?;
    asked.body = String::from_utf8_lossy(&body).into_owned();
    log.lock().unwrap().push(asked.clone());
    let (status, text) = answers(&asked);
    // The lifetime belongs to the metadata service's token, and harms nobody else.
    let lifetime = "x-aws-ec2-metadata-token-ttl-seconds: 21600";
    let head = format!(
        "HTTP/1.1 {status} Answer\r\nconnection: close\r\n{lifetime}\r\ncontent-length: {}\r\n\r\n",
        text.len()
    );
    socket.write_all(head.as_bytes())?;
    socket.write_all(text.as_bytes())
}
