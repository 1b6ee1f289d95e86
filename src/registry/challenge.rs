//! The `WWW-Authenticate` header, read as servers write it: any case, values without quotes, several challenges in one line.

/// One challenge.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Challenge {
    /// The scheme in lower case: `basic`, `bearer`.
    pub scheme: String,
    /// Names in lower case, and their values, as they stand.
    pub parameters: Vec<(String, String)>,
}

impl Challenge {
    /// Reads every challenge of a header's value; what makes no sense is passed over.
    pub fn parse_all(value: &str) -> Vec<Self> {
        let mut challenges: Vec<Self> = Vec::new();
        for item in split(value) {
            // A new challenge starts with a word and a space; a further parameter of the last one is `name=value`.
            let (first, rest) = item.split_once([' ', '\t']).unwrap_or((item, ""));
            let rest = rest.trim_start();
            let starts = !first.contains('=') && !rest.starts_with('=');
            let parameter = if starts { rest } else { item };
            if starts && is_token(first) {
                challenges.push(Self { scheme: first.to_ascii_lowercase(), parameters: Vec::new() });
            } else if starts {
                continue;
            }
            if let (Some(challenge), Some((name, value))) = (challenges.last_mut(), parameter.split_once('='))
                && is_token(name.trim())
            {
                challenge.parameters.push((name.trim().to_ascii_lowercase(), unquote(value.trim())));
            }
        }
        challenges
    }

    /// A parameter's value, by its lower-case name.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.parameters.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }
}

/// What schemes and names are made of (RFC 9110, section 5.6.2).
fn is_token(text: &str) -> bool {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    !text.is_empty() && text.bytes().all(fits)
}

/// The parts between commas that stand outside of quotes.
fn split(value: &str) -> Vec<&str> {
    let mut items = Vec::new();
    let (mut start, mut quoted, mut escaped) = (0, false, false);
    for (at, byte) in value.bytes().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if quoted => escaped = true,
            b'"' => quoted = !quoted,
            b',' if !quoted => {
                items.push(value.get(start..at).unwrap_or_default());
                start = at + 1;
            }
            _ => {}
        }
    }
    items.push(value.get(start..).unwrap_or_default());
    items.into_iter().map(str::trim).filter(|item| !item.is_empty()).collect()
}

fn unquote(value: &str) -> String {
    let Some(inner) = value.strip_prefix('"') else { return value.to_owned() };
    let mut text = String::new();
    let mut chars = inner.chars();
    while let Some(c) = chars.next() {
        match c {
            '"' => break,
            '\\' => text.extend(chars.next()),
            c => text.push(c),
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_challenges_of_every_spelling() {
        let scope = "repository:a:pull,push";
        for value in [
            "Bearer realm=\"https://t.example/token?x=1\",service=\"r\",scope=\"repository:a:pull,push\"",
            "bearer  realm = https://t.example/token?x=1 , service=r, scope=\"repository:a:pull,push\"",
            "BEARER scope=\"repository:a:pull,push\", error=\"invalid_token\", realm=\"https://t.example/token?x=1\"",
        ] {
            let all = Challenge::parse_all(value);
            assert_eq!(all.len(), 1, "{value}");
            assert_eq!(all[0].scheme, "bearer");
            assert_eq!(all[0].get("realm"), Some("https://t.example/token?x=1"));
            assert_eq!(all[0].get("scope"), Some(scope));
        }
    }

    #[test]
    fn reads_several_challenges() {
        let all = Challenge::parse_all("Negotiate, Basic realm=\"a, \\\"b\\\"\", bearer realm=https://x.example");
        let schemes: Vec<_> = all.iter().map(|challenge| challenge.scheme.as_str()).collect();
        assert_eq!(schemes, ["negotiate", "basic", "bearer"]);
        assert_eq!(all[1].get("realm"), Some("a, \"b\""));
        assert_eq!(all[2].get("realm"), Some("https://x.example"));
        for odd in ["Negotiate x\",y=\"a, \\\"b\\\"\", basic realm=z", "é ü=1, basic realm=z, ü=2, \"=3"] {
            let all = Challenge::parse_all(odd);
            assert_eq!(all.last().and_then(|last| last.get("realm")), Some("z"), "{odd}");
            assert!(all.iter().flat_map(|read| &read.parameters).all(|(name, _)| is_token(name)), "{odd}");
        }
        for junk in ["", ",,,", "=", "\"", "\\", "a=b", "é ü=\""] {
            assert!(Challenge::parse_all(junk).iter().all(|challenge| challenge.get("realm").is_none()), "{junk}");
        }
    }
}
