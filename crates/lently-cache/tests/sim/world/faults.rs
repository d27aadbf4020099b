//! What befalls a world: each fault, for as long as it lasts, and the trouble that it counts as.

use std::time::Duration;

use tokio::time::sleep;

use super::{NOTICED_WITHIN, Node, World};
use crate::{
    history::{At, Fetch, FetchEnd},
    plan::Fault,
};

impl World {
    pub(super) async fn befall(&self, fault: Fault, lasts: At) {
        let net = &self.0.net;
        let last = sleep(Duration::from_millis(lasts));
        let node = match fault {
            Fault::Cut { node }
            | Fault::Partition { node }
            | Fault::OneWay { node, .. }
            | Fault::HalfOpen { node }
            | Fault::Slow { node }
            | Fault::Crash { node, .. }
            | Fault::Jump { node, .. } => match self.node(node) {
                Some(found) => Some((node, found)),
                None => return,
            },
            Fault::ServerRestart { .. }
            | Fault::ServerFreeze
            | Fault::ServerFull
            | Fault::ServerJump { .. } => None,
        };
        let place = node.as_ref().map(|(_, node)| node.place);
        let began = |name| {
            let at = self.now();
            self.history().trouble_began(at, place, name)
        };
        let trouble = match (fault, &node) {
            (Fault::Cut { .. }, Some((_, node))) => {
                let trouble = began("cut");
                net.cut(node.place);
                trouble
            }
            (Fault::Partition { .. }, Some((_, node))) => {
                let trouble = began("partition");
                net.set_weather(node.place, |weather| (weather.up_held, weather.down_held) = (true, true));
                last.await;
                net.set_weather(node.place, |weather| (weather.up_held, weather.down_held) = (false, false));
                trouble
            }
            (Fault::OneWay { up, .. }, Some((_, node))) => {
                let trouble = began(if up { "nothing gets out" } else { "nothing gets in" });
                net.set_weather(node.place, |weather| (weather.up_held, weather.down_held) = (up, !up));
                last.await;
                net.set_weather(node.place, |weather| (weather.up_held, weather.down_held) = (false, false));
                trouble
            }
            (Fault::HalfOpen { .. }, Some((_, node))) => {
                let trouble = began("half-open");
                net.deaden(node.place);
                sleep(Duration::from_millis(NOTICED_WITHIN)).await;
                trouble
            }
            (Fault::Slow { .. }, Some((_, node))) => {
                let trouble = began("slow");
                let usual = self.0.plan.latency;
                net.set_weather(node.place, |weather| weather.latency = 200);
                last.await;
                net.set_weather(node.place, |weather| weather.latency = usual);
                trouble
            }
            (Fault::Crash { told, .. }, Some((index, node))) => {
                return self.crash(*index, node, told, lasts).await;
            }
            (Fault::Jump { by, .. }, Some((_, node))) => {
                let trouble = began("clock jumps");
                node.clock.jump(by);
                trouble
            }
            (Fault::ServerRestart { keep }, _) => {
                let trouble = began(if keep { "restart" } else { "restart without its keys" });
                net.stop_server();
                last.await;
                net.start_server(keep);
                trouble
            }
            (Fault::ServerFreeze, _) => {
                let trouble = began("frozen");
                net.freeze_server(true);
                last.await;
                net.freeze_server(false);
                trouble
            }
            (Fault::ServerFull, _) => {
                let trouble = began("full");
                net.refuse_writes(true);
                last.await;
                net.refuse_writes(false);
                trouble
            }
            (Fault::ServerJump { by }, _) => {
                let trouble = began("clock jumps");
                net.move_clock(by);
                // Leases end early or late.
                sleep(Duration::from_millis(3_000)).await;
                trouble
            }
            (_, None) => return,
        };
        let at = self.now();
        self.history().trouble_ended(at, trouble);
    }

    async fn crash(&self, index: usize, node: &Node, told: bool, lasts: At) {
        let current = self.node(index).is_some_and(|current| current.place == node.place);
        if !current {
            return;
        }
        self.nodes()[index] = None;
        self.note(&format!("node {}: dies", node.place));
        let at = self.now();
        self.history().lost.push((node.place, at));
        self.0.net.lose(node.place, told);
        node.gone.cancel();
        let running: Vec<usize> = {
            let history = self.history();
            let its = |fetch: &Fetch| fetch.node == node.place && fetch.ended.is_none();
            (0..history.fetches.len()).filter(|number| its(&history.fetches[*number])).collect()
        };
        for number in running {
            self.fetch_ended(number, FetchEnd::Dropped);
        }
        sleep(Duration::from_millis(lasts)).await;
        let place = self.0.net.join(self.0.plan.latency);
        self.open(index, place).await;
    }
}
