//! One question for all who ask it at the same time.

use std::time::Instant;

use tokio::sync::Mutex;

/// Shares an answer: whoever has to wait for another's question takes the answer to the next one with all who wait, and
/// nobody gets one to a question that was put before his own.
pub struct SingleFlight<T> {
    /// The latest answer, and when it was asked for.
    latest: Mutex<Option<(Instant, T)>>,
}

impl<T> Default for SingleFlight<T> {
    fn default() -> Self {
        Self { latest: Mutex::const_new(None) }
    }
}

impl<T: Clone> SingleFlight<T> {
    /// The answer to a question that is put from now on.
    pub async fn ask(&self, question: impl AsyncFnOnce() -> T) -> T {
        let asked = Instant::now();
        let mut latest = self.latest.lock().await;
        if let Some((put, answer)) = &*latest
            && *put >= asked
        {
            return answer.clone();
        }
        let put = Instant::now();
        let answer = question().await;
        *latest = Some((put, answer.clone()));
        answer
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use tokio::sync::Semaphore;

    use super::*;

    #[tokio::test]
    async fn all_who_wait_share_the_next_answer_and_nobody_gets_an_older_one() {
        let (flight, questions, gate) = (SingleFlight::default(), AtomicU32::new(0), Semaphore::new(0));
        let ask = || {
            flight.ask(async || {
                let number = questions.fetch_add(1, Ordering::Relaxed);
                gate.acquire().await.unwrap().forget();
                number
            })
        };
        let mut first = Box::pin(ask());
        assert!(futures::poll!(&mut first).is_pending());
        let mut others = Box::pin(futures::future::join_all((0..10).map(|_| ask())));
        assert!(futures::poll!(&mut others).is_pending());
        gate.add_permits(3);
        assert_eq!(first.await, 0);
        assert_eq!(others.await, [1; 10]);
        assert_eq!(ask().await, 2, "the answers before are too old");
    }

    #[tokio::test]
    async fn one_who_gives_up_leaves_the_question_to_the_next() {
        let flight = SingleFlight::default();
        let mut first = Box::pin(flight.ask(std::future::pending::<u32>));
        assert!(futures::poll!(&mut first).is_pending());
        drop(first);
        assert_eq!(flight.ask(async || 7).await, 7);
    }
}
