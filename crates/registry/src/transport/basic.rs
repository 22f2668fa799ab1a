//! Basic authentication: a name and a password in each request.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::Secret;

/// The value of an `Authorization` header.
///
/// # Source
/// RFC 7617, section 2.
pub(crate) fn authorization(username: &str, password: &Secret) -> Secret {
    Secret::new(format!("Basic {}", STANDARD.encode(format!("{username}:{}", password.expose()))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_example_of_the_rfc() {
        let value = authorization("Aladdin", &Secret::new("open sesame"));
        assert_eq!(value.expose(), "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==");
    }
}
