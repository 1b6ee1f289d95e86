//! Between a client and a server: a proxy for tunnels, or a wire that breaks once.

use std::io::{self, BufRead as _, BufReader, Read, Write as _};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

/// A relay on loopback. Its threads end with their connections, and with the process.
pub struct Relay {
    address: SocketAddr,
    state: Arc<State>,
}

#[derive(Default)]
struct State {
    /// Where connections go; a proxy is told by its clients.
    to: Option<SocketAddr>,
    /// The connection that brings so many bytes in all is cut, once.
    cut_at: Option<u64>,
    was_cut: AtomicBool,
    up: AtomicU64,
    heads: Mutex<Vec<String>>,
}

impl Relay {
    /// A proxy for `CONNECT`.
    pub fn proxy() -> Self {
        Self::start(State::default())
    }

    /// A wire to `to` that breaks when so many bytes went up it.
    pub fn that_cuts(to: SocketAddr, at: u64) -> Self {
        Self::start(State { to: Some(to), cut_at: Some(at), ..State::default() })
    }

    fn start(state: State) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("loopback has a free port");
        let (address, state) = (listener.local_addr().expect("it is bound"), Arc::new(state));
        let shared = state.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let state = shared.clone();
                std::thread::spawn(move || state.relay(stream));
            }
        });
        Self { address, state }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The heads of all requests for tunnels.
    pub fn heads(&self) -> Vec<String> {
        self.state.heads.lock().expect("no thread panics").clone()
    }

    /// Whether the connection was broken.
    pub fn was_cut(&self) -> bool {
        self.state.was_cut.load(Ordering::SeqCst)
    }

    /// Bytes from clients.
    pub fn bytes_up(&self) -> u64 {
        self.state.up.load(Ordering::SeqCst)
    }
}

impl State {
    fn relay(&self, client: TcpStream) -> Option<()> {
        let to = match self.to {
            Some(to) => to,
            None => self.tunnel(&client).ok()?,
        };
        let server = TcpStream::connect(to).ok()?;
        if self.to.is_none() {
            (&client).write_all(b"HTTP/1.1 200 Connection established\r\n\r\n").ok()?;
        }
        let (back_from, back_to) = (server.try_clone().ok()?, client.try_clone().ok()?);
        let back = std::thread::spawn(move || {
            let _ = io::copy(&mut &back_from, &mut &back_to);
            let _ = back_to.shutdown(Shutdown::Write);
        });
        let _ = self.up(&client, &server);
        let _ = server.shutdown(Shutdown::Write);
        back.join().ok()
    }

    fn up(&self, client: &TcpStream, server: &TcpStream) -> io::Result<()> {
        let mut piece = vec![0; 64 << 10];
        loop {
            let len = (&*client).read(&mut piece)?;
            if len == 0 {
                return Ok(());
            }
            let up = self.up.fetch_add(len as u64, Ordering::SeqCst) + len as u64;
            if self.cut_at.is_some_and(|at| up >= at) && !self.was_cut.swap(true, Ordering::SeqCst) {
                let _ = client.shutdown(Shutdown::Both);
                return server.shutdown(Shutdown::Both);
            }
            (&*server).write_all(&piece[..len])?;
        }
    }

    /// Reads a request for a tunnel, byte by byte so that nothing of what follows is taken.
    fn tunnel(&self, client: &TcpStream) -> io::Result<SocketAddr> {
        let (mut stream, mut head) = (BufReader::with_capacity(1, client), String::new());
        while !head.ends_with("\r\n\r\n") {
            if stream.read_line(&mut head)? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
        let to = head.split(' ').nth(1).and_then(|to| to.parse().ok());
        self.heads.lock().expect("no thread panics").push(head);
        to.ok_or_else(|| io::ErrorKind::InvalidInput.into())
    }
}
