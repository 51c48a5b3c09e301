//! Beginning with TLS: at once, or on a connection that has begun without.

use std::fmt;
use std::io;
use std::rc::Rc;
use std::sync::Arc;

use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, ServerConfig, ServerConnection};

use super::{Session, Tls};
use crate::transport::{Connection, Transport};

/// What a client needs to speak TLS.
#[derive(Clone)]
pub struct ClientTls {
    /// Whom to trust, what to offer.
    pub config: Arc<ClientConfig>,
    /// Who the server has to be.
    pub server_name: ServerName<'static>,
}

impl fmt::Debug for ClientTls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientTls").field("server_name", &self.server_name).finish_non_exhaustive()
    }
}

fn client(tls: &ClientTls) -> io::Result<Session> {
    let connection = ClientConnection::new(tls.config.clone(), tls.server_name.clone());
    connection.map(|connection| Session::new(connection.into())).map_err(io::Error::other)
}

fn server(config: Arc<ServerConfig>) -> io::Result<Session> {
    let connection = ServerConnection::new(config);
    connection.map(|connection| Session::new(connection.into())).map_err(io::Error::other)
}

/// Shakes hands as a client, and then tells the user that it is connected.
pub(crate) async fn connect(connection: &Rc<Connection>, tls: &ClientTls) -> io::Result<()> {
    let begun = Closing(connection);
    let session = client(tls)?;
    let layer = Tls::begin(connection, session, Box::new(|connection| connection.begin()));
    layer.handshake().await?;
    begun.keep();
    Ok(())
}

/// Shakes hands as a server, and then calls `begin`.
pub(crate) fn accept(
    connection: &Rc<Connection>,
    config: Arc<ServerConfig>,
    begin: impl FnOnce(&Rc<Connection>) + 'static,
) -> io::Result<()> {
    let begun = Closing(connection);
    let session = server(config)?;
    begun.keep();
    Tls::begin(connection, session, Box::new(begin));
    Ok(())
}

/// Ends a connection that nobody will get.
struct Closing<'a>(&'a Rc<Connection>);

impl Closing<'_> {
    fn keep(self) {
        std::mem::forget(self);
    }
}

impl Drop for Closing<'_> {
    fn drop(&mut self) {
        self.0.force_close(None);
    }
}

impl Transport {
    /// Goes on with TLS, as a client. The protocol stays, and hears nothing of it; what it writes from
    /// now on is encrypted.
    ///
    /// # Errors
    /// Why hands were not shaken; the connection is lost then.
    pub async fn start_tls(&self, tls: &ClientTls) -> io::Result<()> {
        self.protect(client(tls)?).await
    }

    /// As [`Transport::start_tls`], as a server.
    ///
    /// # Errors
    /// As [`Transport::start_tls`].
    pub async fn start_tls_server(&self, config: Arc<ServerConfig>) -> io::Result<()> {
        self.protect(server(config)?).await
    }

    async fn protect(&self, session: Session) -> io::Result<()> {
        let connection = &self.0;
        if self.is_closing() || connection.tls().is_some() {
            return Err(io::ErrorKind::NotConnected.into());
        }
        let begun = Closing(connection);
        let layer = Tls::begin(connection, session, Box::new(|_| ()));
        layer.handshake().await?;
        begun.keep();
        Ok(())
    }

    /// Calls `visit` with what was agreed in the handshake; `None` without TLS.
    pub fn with_tls<R>(&self, visit: impl FnOnce(&rustls::CommonState) -> R) -> Option<R> {
        self.0.tls().map(|tls| tls.session().visit(visit))
    }
}
