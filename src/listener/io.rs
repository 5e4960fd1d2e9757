//! The byte stream under hyper: shows every byte to the screen first, and gives up on a peer that
//! is too slow with a head or does not take what is written to it.

use std::cell::RefCell;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep};

use crate::listener::screen::{FrameScreen, HeadScreen};

/// Which protocol the bytes are.
#[derive(Debug)]
pub enum Screen {
    /// Shared with the service, which asks for the verdict on each request.
    Http1(Rc<RefCell<HeadScreen>>),
    Http2(FrameScreen),
    /// Not looked at, and no limit for a head but hyper's own: the admin port.
    Off,
}

/// A stream with a screen and two deadlines.
#[derive(Debug)]
pub struct ScreenedIo<T> {
    inner: T,
    screen: Screen,
    head_timeout: Duration,
    head_deadline: Option<Pin<Box<Sleep>>>,
    write_timeout: Duration,
    write_deadline: Option<Pin<Box<Sleep>>>,
}

impl<T> ScreenedIo<T> {
    pub fn new(inner: T, screen: Screen, head_timeout: Duration, write_timeout: Duration) -> Self {
        ScreenedIo {
            inner,
            screen,
            head_timeout,
            head_deadline: None,
            write_timeout,
            write_deadline: None,
        }
    }

    fn screen_bytes(&mut self, bytes: &[u8]) -> io::Result<()> {
        match &mut self.screen {
            Screen::Http1(screen) => {
                let mut screen = screen.borrow_mut();
                screen.feed(bytes);
                // The first byte of a head starts its time; the end of the head ends it.
                if !screen.in_head() {
                    self.head_deadline = None;
                } else if self.head_deadline.is_none() {
                    self.head_deadline = Some(Box::pin(tokio::time::sleep(self.head_timeout)));
                }
                Ok(())
            }
            Screen::Http2(screen) => match screen.feed(bytes) {
                true => Ok(()),
                false => Err(io::Error::new(
                    io::ErrorKind::InvalidData,
                    "flood of control frames",
                )),
            },
            Screen::Off => Ok(()),
        }
    }

    /// A write that made progress ends the deadline; one that waits starts or checks it.
    fn watch_write<R>(
        &mut self,
        cx: &mut Context<'_>,
        poll: Poll<io::Result<R>>,
    ) -> Poll<io::Result<R>> {
        if poll.is_ready() {
            self.write_deadline = None;
            return poll;
        }
        let deadline = self.write_deadline.get_or_insert_with(|| {
            Box::pin(tokio::time::sleep_until(
                Instant::now() + self.write_timeout,
            ))
        });
        match deadline.as_mut().poll(cx) {
            Poll::Ready(()) => Poll::Ready(Err(io::ErrorKind::TimedOut.into())),
            Poll::Pending => Poll::Pending,
        }
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for ScreenedIo<T> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let before = buf.filled().len();
        match Pin::new(&mut this.inner).poll_read(cx, buf) {
            Poll::Ready(Ok(())) => {
                let new = buf.filled().get(before..).unwrap_or_default();
                Poll::Ready(this.screen_bytes(new))
            }
            Poll::Ready(Err(e)) => Poll::Ready(Err(e)),
            Poll::Pending => match &mut this.head_deadline {
                Some(deadline) => match deadline.as_mut().poll(cx) {
                    Poll::Ready(()) => Poll::Ready(Err(io::ErrorKind::TimedOut.into())),
                    Poll::Pending => Poll::Pending,
                },
                None => Poll::Pending,
            },
        }
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for ScreenedIo<T> {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let poll = Pin::new(&mut this.inner).poll_write(cx, buf);
        this.watch_write(cx, poll)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let poll = Pin::new(&mut this.inner).poll_write_vectored(cx, bufs);
        this.watch_write(cx, poll)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let poll = Pin::new(&mut this.inner).poll_flush(cx);
        this.watch_write(cx, poll)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let poll = Pin::new(&mut this.inner).poll_shutdown(cx);
        this.watch_write(cx, poll)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    const LIMIT: Duration = Duration::from_secs(10);

    /// Who does not read holds its place until the deadline; who reads slowly keeps it.
    #[tokio::test(start_paused = true)]
    async fn a_write_that_makes_no_progress_is_given_up() {
        let (ours, mut theirs) = tokio::io::duplex(16);
        let mut io = ScreenedIo::new(ours, Screen::Off, LIMIT, LIMIT);
        let reader = async {
            for _ in 0..4 {
                tokio::time::sleep(LIMIT / 2).await;
                theirs.read_exact(&mut [0; 16]).await.unwrap();
            }
            std::future::pending::<()>().await;
        };
        let began = Instant::now();
        let written = tokio::select! {
            written = io.write_all(&[0; 1000]) => written,
            () = reader => unreachable!(),
        };
        assert_eq!(written.unwrap_err().kind(), io::ErrorKind::TimedOut);
        assert_eq!(began.elapsed().as_secs(), (LIMIT * 3).as_secs());
    }
}
