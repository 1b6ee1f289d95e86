//! Whom a connection trusts: which certificates, and which addresses.
//!
//! Each way of trusting has an HTTP client of its own, so that no connection that one registry opened is used on behalf of another that
//! may not open it.

mod certs;
mod reach;
mod tls;

use std::collections::{BTreeSet, HashMap};
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use hyper_util::client::proxy::matcher::Matcher;
use rustls::crypto::CryptoProvider;
use url::{Origin, Url};

use super::endpoint::Endpoint;
use super::error::{Place, RegistryError};
use super::options::Options;

pub use certs::{CertificateError, CertificateFolders};
pub use reach::Nearness;
pub(super) use reach::TooNear;
use tls::Believed;

/// Bytes that may come on one HTTP/2 stream and connection before we answer. The defaults stop long lines at a few hundred megabits.
const STREAM_WINDOW: u32 = 8 << 20;
const CONNECTION_WINDOW: u32 = 32 << 20;

/// Why there can be no HTTP client.
#[derive(Debug, thiserror::Error)]
pub enum SetupError {
    /// TLS cannot be spoken.
    #[error(transparent)]
    Tls(#[from] rustls::Error),
    /// Nor HTTP.
    #[error(transparent)]
    Http(#[from] reqwest::Error),
}

/// What TLS is computed with.
fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

/// The HTTP clients, one for each way of trusting.
pub(super) struct Connections {
    plain_http: bool,
    insecure: bool,
    allow_private: bool,
    connect_timeout: std::time::Duration,
    folders: CertificateFolders,
    proxies: Proxies,
    clients: Mutex<HashMap<Trust, reqwest::Client>>,
    /// How near the servers are that answered, by what was connected to.
    near: Mutex<HashMap<Origin, Nearness>>,
}

/// A way of trusting.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
struct Trust {
    /// Folders whose authorities are believed beside the system's.
    authorities: BTreeSet<PathBuf>,
    /// The folder with the certificates that we may show.
    identity: Option<PathBuf>,
    /// Certificates are not checked.
    insecure: bool,
    /// The nearest address that may be connected to; any when there is none.
    limit: Option<Nearness>,
}

impl Connections {
    pub(super) fn new(options: &Options) -> Result<Self, RegistryError> {
        let connections = Self {
            plain_http: options.plain_http,
            insecure: options.insecure,
            allow_private: options.allow_private_redirects,
            connect_timeout: options.stall,
            folders: options.certificates.clone(),
            proxies: Proxies::of_system(),
            clients: Mutex::default(),
            near: Mutex::default(),
        };
        // A system without roots is found out here rather than at the first request.
        connections.shared(Trust { insecure: options.insecure, ..Trust::default() })?;
        Ok(connections)
    }

    /// The client for a request to `url` on behalf of `endpoint`, a registry that is asked at `home`. Elsewhere than at home, the
    /// registry's authorities are believed, its own certificate stays at home, and no server is nearer than the registry.
    pub(super) fn client(
        &self,
        endpoint: &Endpoint,
        home: &Url,
        url: &Url,
        place: &Place,
    ) -> Result<reqwest::Client, RegistryError> {
        let at_home = url.origin() == home.origin();
        let limit = if at_home || self.allow_private { None } else { Some(self.nearness(home)) };
        if let Some(limit) = limit {
            self.check(limit, url, place)?;
        }
        let own = self.folders.of(endpoint.repo.host());
        let there = if at_home { own.clone() } else { self.folders.of(&authority(url)) };
        let authorities = own.into_iter().chain(there.clone()).collect();
        let insecure = self.insecure || endpoint.insecure;
        self.shared(Trust { authorities, identity: there, insecure, limit })
    }

    fn shared(&self, trust: Trust) -> Result<reqwest::Client, RegistryError> {
        let mut clients = self.clients.lock().expect("no holder of this lock panics");
        if let Some(client) = clients.get(&trust) {
            return Ok(client.clone());
        }
        let client = self.build(&trust)?;
        clients.insert(trust, client.clone());
        Ok(client)
    }

    fn build(&self, trust: &Trust) -> Result<reqwest::Client, RegistryError> {
        let mut authorities = Vec::new();
        for folder in &trust.authorities {
            authorities.extend(certs::authorities(folder)?);
        }
        let identities = trust.identity.as_deref().map(certs::identities).transpose()?.unwrap_or_default();
        let own_alone = self.plain_http || !authorities.is_empty();
        let build = |believed| self.build_with(trust, tls::config(believed, identities.clone())?);
        let built = if trust.insecure {
            build(Believed::Anybody)
        } else {
            // A machine without root certificates can still talk plain HTTP, or trust its own authorities.
            match build(Believed::System(authorities.clone())) {
                Err(_) if own_alone => build(Believed::Only(authorities)),
                built => built,
            }
        };
        built.map_err(RegistryError::Setup)
    }

    fn build_with(&self, trust: &Trust, tls: rustls::ClientConfig) -> Result<reqwest::Client, SetupError> {
        let mut builder = reqwest::Client::builder()
            .user_agent(concat!("chunkify/", env!("CARGO_PKG_VERSION")))
            .redirect(reqwest::redirect::Policy::none())
            .referer(false)
            .http2_initial_stream_window_size(STREAM_WINDOW)
            .http2_initial_connection_window_size(CONNECTION_WINDOW)
            .connect_timeout(self.connect_timeout)
            .tls_backend_preconfigured(tls);
        if let Some(limit) = trust.limit {
            builder = builder.dns_resolver(reach::Guard::new(limit, self.proxies.hosts.clone()));
        }
        Ok(builder.build()?)
    }

    /// Notes where an answer came from.
    pub(super) fn answered(&self, url: &Url, address: Option<IpAddr>) {
        // What a proxy connected to cannot be seen.
        let address = if self.proxies.stand_before(url) { None } else { address };
        let near = address.map_or_else(|| by_name(url), Nearness::of);
        self.near.lock().expect("no holder of this lock panics").insert(url.origin(), near);
    }

    fn nearness(&self, url: &Url) -> Nearness {
        let near = self.near.lock().expect("no holder of this lock panics");
        near.get(&url.origin()).copied().unwrap_or_else(|| by_name(url))
    }

    /// Addresses that need no look-up pass by the resolver, and so are held against the limit here.
    fn check(&self, limit: Nearness, url: &Url, place: &Place) -> Result<(), RegistryError> {
        let host = url.host_str().unwrap_or_default();
        let is_proxy = self.proxies.hosts.contains(host) && !self.proxies.stand_before(url);
        match literal(url).map(Nearness::of) {
            Some(near) if near > limit => Err(RegistryError::Near { place: place.clone(), near }),
            // The proxy's name is looked up without a limit, for the proxy's sake alone.
            None if is_proxy && limit < Nearness::Loopback => {
                Err(RegistryError::Near { place: place.clone(), near: Nearness::Private })
            }
            _ => Ok(()),
        }
    }
}

/// The host and port of a URL as a folder of certs.d would be called.
fn authority(url: &Url) -> String {
    let host = url.host_str().unwrap_or_default();
    url.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"))
}

fn literal(url: &Url) -> Option<IpAddr> {
    match url.host()? {
        url::Host::Ipv4(address) => Some(address.into()),
        url::Host::Ipv6(address) => Some(address.into()),
        url::Host::Domain(_) => None,
    }
}

/// What a name alone tells: nothing, unless it is an address.
fn by_name(url: &Url) -> Nearness {
    literal(url).map_or(Nearness::Public, Nearness::of)
}

/// The proxies that the environment names (`HTTPS_PROXY`, `HTTP_PROXY`, `ALL_PROXY`, `NO_PROXY`).
struct Proxies {
    matcher: Matcher,
    hosts: Arc<BTreeSet<String>>,
}

impl Proxies {
    fn of_system() -> Self {
        let matcher = Matcher::from_system();
        // Asked with a host that no exception names.
        let asked = ["http://proxied.invalid/", "https://proxied.invalid/"].map(http::Uri::from_static);
        let found = asked.iter().filter_map(|uri| matcher.intercept(uri));
        let hosts = found.filter_map(|proxy| Some(proxy.uri().host()?.to_owned())).collect();
        Self { matcher, hosts: Arc::new(hosts) }
    }

    fn stand_before(&self, url: &Url) -> bool {
        url.as_str().parse().is_ok_and(|uri| self.matcher.intercept(&uri).is_some())
    }
}
