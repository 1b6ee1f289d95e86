//! Whether a registry takes someone's credentials.

use reqwest::Method;

use super::Client;
use super::answer::Answer;
use super::credentials::LoginKey;
use super::endpoint::Endpoint;
use super::error::RegistryError;
use super::http::Ask;
use super::token::Scope;
use crate::ledger::Ledger;

/// What a registry makes of credentials that it does not refuse.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Login {
    /// It asked for credentials and took them.
    Taken,
    /// It asks nobody for credentials, so nothing is known about them.
    NotAsked,
}

impl Client {
    /// Asks the registry whether it takes this client's credentials.
    ///
    /// # Errors
    /// [`RegistryError::Unauthorized`] when it does not, or anything else that goes wrong.
    pub async fn login(&self, key: &LoginKey) -> Result<Login, RegistryError> {
        let ledger = Ledger::new();
        let endpoint = self.target(key.repo()).await?;
        let ask = self.ask(Method::GET, endpoint.root()?, Scope::pull(&endpoint));
        let answer = self.http.send(&ask, &ledger).await?;
        if !answer.status().is_success() {
            return Err(answer.into_error(&ledger).await);
        }
        // A registry that also serves strangers lets everybody in, and says in passing how it would like to be asked.
        let asked = !answer.challenges().is_empty();
        if self.http.has_answered_a_challenge(&ask).await {
            answer.discard(&ledger).await;
            return Ok(Login::Taken);
        }
        if !asked {
            answer.discard(&ledger).await;
            return Ok(Login::NotAsked);
        }
        self.answer_in_passing(&ask, &endpoint, answer, &ledger).await
    }

    async fn answer_in_passing(
        &self,
        ask: &Ask<'_>,
        endpoint: &Endpoint,
        answer: Answer<'_>,
        ledger: &Ledger,
    ) -> Result<Login, RegistryError> {
        let challenges = answer.challenges();
        answer.discard(ledger).await;
        let refused =
            |source| RegistryError::Unauthorized { host: endpoint.repo.host().to_owned(), known: true, source };
        if !self.http.answer_challenges(ask, challenges, ledger).await? {
            return Ok(Login::NotAsked);
        }
        let answer = self.http.send(ask, ledger).await?;
        if !answer.status().is_success() {
            return Err(refused(Box::new(answer.into_error(ledger).await)));
        }
        answer.discard(ledger).await;
        Ok(Login::Taken)
    }
}
