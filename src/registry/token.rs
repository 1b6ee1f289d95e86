//! Answers to challenges: what `Authorization` header a registry wants, fetched once and renewed in time.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use reqwest::header::{CONTENT_TYPE, HeaderValue};
use serde::Deserialize;
use url::{Origin, Url};

use super::challenge::Challenge;
use super::credentials::{self, Credentials};
use super::endpoint::Endpoint;
use super::error::{Fault, Place, RegistryError};
use super::http::Http;
use super::secrets;
use crate::ledger::{Cause, Ledger};
use crate::limits;

/// Tokens without a lifetime live so long, and shorter lifetimes are not believed.
const LIFETIME: Duration = Duration::from_secs(60);
/// Tokens are renewed so long before their end.
const MARGIN: Duration = Duration::from_secs(10);

/// What a request wants to do, in the words of token servers.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Scope {
    endpoint: Endpoint,
    push: bool,
    /// Another repository that a blob is mounted from.
    from: Option<String>,
}

impl Scope {
    pub(super) fn pull(endpoint: &Endpoint) -> Self {
        Self { endpoint: endpoint.clone(), push: false, from: None }
    }

    pub(super) fn push(endpoint: &Endpoint) -> Self {
        Self { push: true, ..Self::pull(endpoint) }
    }

    pub(super) fn mount(endpoint: &Endpoint, from: &str) -> Self {
        Self { from: Some(from.to_owned()), ..Self::push(endpoint) }
    }

    /// Whom the request is for.
    pub(super) fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    fn words(&self) -> Vec<String> {
        let actions = if self.push { "pull,push" } else { "pull" };
        // A login asks for nothing yet, and its endpoint is the registry as a whole.
        let name = Some(self.endpoint.repo.name()).filter(|name| !name.is_empty());
        let mut words: Vec<_> = name.map(|name| format!("repository:{name}:{actions}")).into_iter().collect();
        words.extend(self.from.as_ref().map(|from| format!("repository:{from}:pull")));
        words
    }
}

/// The `Authorization` headers of all registries and scopes.
#[derive(Default)]
pub(super) struct Auth {
    states: Mutex<HashMap<(Origin, Scope), Shared>>,
}

/// Held while a token is fetched, so that requests refused at the same time fetch one.
type Shared = Arc<tokio::sync::Mutex<State>>;

/// Nothing until the first challenge.
#[derive(Default)]
struct State {
    header: Option<HeaderValue>,
    expires: Option<Instant>,
    server: Option<TokenServer>,
    /// No credentials were found.
    anonymous: bool,
}

#[derive(Clone)]
struct TokenServer {
    realm: Url,
    service: Option<String>,
    scopes: Vec<String>,
}

impl Auth {
    /// The header to send, if a challenge was seen; a token that ends soon is renewed first.
    pub(super) async fn header(
        &self,
        http: &Http,
        url: &Url,
        scope: &Scope,
        ledger: &Ledger,
    ) -> Result<Option<HeaderValue>, RegistryError> {
        let state = self.state(url, scope);
        let mut state = state.lock().await;
        if state.expires.is_some_and(|expires| Instant::now() >= expires)
            && let Some(server) = state.server.clone()
        {
            let credentials = find(http, scope).await?;
            state.renew(http, url, scope, server, credentials, ledger).await?;
        }
        Ok(state.header.clone())
    }

    /// Takes in the challenges of a 401. `false` when there is nothing (more) to answer with.
    pub(super) async fn learn(
        &self,
        http: &Http,
        url: &Url,
        scope: &Scope,
        refusal: Refusal,
        ledger: &Ledger,
    ) -> Result<bool, RegistryError> {
        let state = self.state(url, scope);
        let mut state = state.lock().await;
        if state.header.is_some() && state.header != refusal.sent {
            // Another request was refused at the same time and has fetched a token already.
            return Ok(true);
        }
        let credentials = find(http, scope).await?;
        let bearer = refusal.challenges.iter().find(|challenge| challenge.scheme == "bearer");
        let basic = refusal.challenges.iter().any(|challenge| challenge.scheme == "basic");
        state.anonymous = credentials.is_none();
        match (bearer.and_then(|bearer| Some((bearer, bearer.get("realm")?))), credentials) {
            (Some(_), Some(Credentials::RegistryToken(token))) => Ok(state.set(secret(&format!("Bearer {token}"))?)),
            (Some((bearer, realm)), credentials) => {
                let server = token_server(http, url, scope, bearer, realm)?;
                state.renew(http, url, scope, server, credentials, ledger).await?;
                Ok(true)
            }
            (None, Some(Credentials::Basic { username, password })) if basic => {
                Ok(state.set(secret(&basic_value(&username, &password))?))
            }
            _ => Ok(false),
        }
    }

    /// Whether there is an answer to a challenge.
    pub(super) async fn has_answer(&self, url: &Url, scope: &Scope) -> bool {
        self.state(url, scope).lock().await.header.is_some()
    }

    /// Whether the registry was asked without credentials, because there are none.
    pub(super) async fn is_anonymous(&self, url: &Url, scope: &Scope) -> bool {
        self.state(url, scope).lock().await.anonymous
    }

    fn state(&self, url: &Url, scope: &Scope) -> Shared {
        let mut states = self.states.lock().expect("no holder of this lock panics");
        states.entry((url.origin(), scope.clone())).or_default().clone()
    }
}

/// A 401: what it asks for, and what was sent in vain.
pub(super) struct Refusal {
    pub(super) challenges: Vec<Challenge>,
    pub(super) sent: Option<HeaderValue>,
}

impl State {
    /// Sets a header that does not expire; `false` when it is the one that was refused.
    fn set(&mut self, header: HeaderValue) -> bool {
        let new = self.header.as_ref() != Some(&header);
        self.header = Some(header);
        new
    }

    async fn renew(
        &mut self,
        http: &Http,
        home: &Url,
        scope: &Scope,
        server: TokenServer,
        credentials: Option<Credentials>,
        ledger: &Ledger,
    ) -> Result<(), RegistryError> {
        let (token, lifetime) = server.fetch(http, home, scope, credentials, ledger).await?;
        secrets::keep(&token);
        self.header = Some(secret(&format!("Bearer {token}"))?);
        self.expires = Instant::now().checked_add(lifetime - MARGIN);
        self.server = Some(server);
        Ok(())
    }
}

#[derive(Deserialize)]
struct TokenAnswer {
    token: Option<String>,
    access_token: Option<String>,
    expires_in: Option<u64>,
}

impl TokenServer {
    async fn fetch(
        &self,
        http: &Http,
        home: &Url,
        scope: &Scope,
        credentials: Option<Credentials>,
        ledger: &Ledger,
    ) -> Result<(String, Duration), RegistryError> {
        let (method, url) = match &credentials {
            Some(Credentials::IdentityToken(_)) => (reqwest::Method::POST, self.realm.clone()),
            Some(Credentials::Basic { username, .. }) => (reqwest::Method::GET, self.url(Some(username))),
            _ => (reqwest::Method::GET, self.url(None)),
        };
        let (place, known) = (Place::new(&method, &self.realm), credentials.is_some());
        let request = http.request(method, url, scope.endpoint(), home, &place)?;
        let request = match credentials {
            Some(Credentials::IdentityToken(token)) => {
                request.header(CONTENT_TYPE, "application/x-www-form-urlencoded").body(self.refresh_form(&token))
            }
            Some(Credentials::Basic { username, password }) => {
                request.header(reqwest::header::AUTHORIZATION, secret(&basic_value(&username, &password))?)
            }
            _ => request,
        };
        let answer = http.exchange(request, &self.realm, place.clone(), http.options.stall, ledger).await?;
        let refused = matches!(answer.status().as_u16(), 400 | 401 | 403);
        if !answer.status().is_success() {
            let error = answer.into_error(ledger).await;
            let host = scope.endpoint.repo.host().to_owned();
            let unauthorized = |source| RegistryError::Unauthorized { host, known, source };
            return Err(if refused { unauthorized(Box::new(error)) } else { error });
        }
        let body = answer.read(limits::TOKEN_BODY as u64, Cause::Protocol, ledger).await?;
        let fault = || RegistryError::Answer { place: place.clone(), fault: Fault::Token };
        let answer: TokenAnswer = serde_json::from_slice(&body).map_err(|_| fault())?;
        let some = |token: Option<String>| token.filter(|token| !token.is_empty());
        let token = some(answer.token).or_else(|| some(answer.access_token)).ok_or_else(fault)?;
        let lifetime =
            Duration::from_secs(answer.expires_in.unwrap_or(0).min(limits::TOKEN_LIFETIME.as_secs())).max(LIFETIME);
        Ok((token, lifetime))
    }

    /// Where a token is had, for whoever asks.
    fn url(&self, username: Option<&str>) -> Url {
        let mut url = self.realm.clone();
        let service = self.service.iter().map(|service| ("service", service.as_str()));
        let scopes = self.scopes.iter().map(|scope| ("scope", scope.as_str()));
        let pairs: Vec<_> = service.chain(scopes).chain(username.map(|name| ("account", name))).collect();
        if !pairs.is_empty() {
            url.query_pairs_mut().extend_pairs(pairs);
        }
        url
    }

    /// The OAuth2 form of the exchange, which identity tokens need.
    fn refresh_form(&self, token: &str) -> String {
        url::form_urlencoded::Serializer::new(String::new())
            .append_pair("grant_type", "refresh_token")
            .append_pair("service", self.service.as_deref().unwrap_or_default())
            .append_pair("client_id", "chunkify")
            .append_pair("scope", &self.scopes.join(" "))
            .append_pair("refresh_token", token)
            .finish()
    }
}

fn token_server(
    http: &Http,
    url: &Url,
    scope: &Scope,
    bearer: &Challenge,
    realm: &str,
) -> Result<TokenServer, RegistryError> {
    let fault = |fault| RegistryError::Answer { place: Place::new(&reqwest::Method::GET, url), fault };
    let realm = url.join(realm).map_err(|_| fault(Fault::Location))?;
    if !matches!(realm.scheme(), "http" | "https") {
        return Err(fault(Fault::Location));
    }
    // A password must not leave encryption because a challenge says so.
    if url.scheme() == "https" && realm.scheme() != "https" && !http.options.insecure {
        return Err(fault(Fault::Downgrade));
    }
    let mut scopes = scope.words();
    // The server knows best what it wants; a scope may name several resources.
    for word in bearer.get("scope").unwrap_or_default().split_whitespace() {
        if !scopes.iter().any(|scope| scope == word) {
            scopes.push(word.to_owned());
        }
    }
    Ok(TokenServer { realm, service: bearer.get("service").map(str::to_owned), scopes })
}

/// The credentials for a registry: those given by hand, else what is kept for it. They are noted as secrets before anyone sends them.
async fn find(http: &Http, scope: &Scope) -> Result<Option<Credentials>, RegistryError> {
    let repo = &scope.endpoint.repo;
    let found = match http.options.credentials.clone().filter(|_| scope.endpoint.named) {
        Some(given) => Some(given),
        None => {
            let found = http.options.keychain.find(repo).await;
            found.map_err(|source| RegistryError::Credentials { host: repo.host().to_owned(), source })?
        }
    };
    match &found {
        Some(Credentials::Basic { username, password }) => {
            secrets::keep(password);
            secrets::keep(&STANDARD.encode(format!("{username}:{password}")));
        }
        Some(Credentials::IdentityToken(token) | Credentials::RegistryToken(token)) => secrets::keep(token),
        None => {}
    }
    Ok(found)
}

fn basic_value(username: &str, password: &str) -> String {
    format!("Basic {}", STANDARD.encode(format!("{username}:{password}")))
}

/// A header value that no log shows. A token with control characters is no header.
fn secret(text: &str) -> Result<HeaderValue, RegistryError> {
    let mut value = HeaderValue::from_str(text).map_err(|_| RegistryError::Credentials {
        host: "the registry's token server".to_owned(),
        source: credentials::CredentialsError::Form,
    })?;
    value.set_sensitive(true);
    Ok(value)
}
