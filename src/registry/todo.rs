//! What is still to be asked for, and in which requests.

use std::collections::VecDeque;

use crate::plan::requests::{Form, Request, shape};
use crate::span::Span;

/// A missing span of at least this many bytes may be asked for alone while others wait.
const LONG: u64 = 128 << 10;

/// Missing spans, with a plan for them that is made anew when the form of requests changes or spans come back.
#[derive(Debug)]
pub(super) struct Todo {
    /// Spans without a plan, ascending and disjoint.
    spans: Vec<Span>,
    planned: VecDeque<Request>,
    form: Option<Form>,
}

impl Todo {
    pub(super) fn new(missing: &[Span]) -> Self {
        Self { spans: missing.to_vec(), planned: VecDeque::new(), form: None }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.spans.is_empty() && self.planned.is_empty()
    }

    /// What is missing, where one range would do for all of it.
    pub(super) fn one_span(&self) -> Option<Span> {
        let mut all = self.spans.iter().chain(self.planned.iter().flat_map(|request| &request.missing));
        let first = *all.next()?;
        // A span that was cut for several requests is still one.
        all.try_fold(first, |hull, &next| (hull.end() == next.start()).then(|| hull.hull(next)))
    }

    /// The next request of this form.
    pub(super) fn next(&mut self, form: Form) -> Option<Request> {
        self.plan(form);
        self.planned.pop_front()
    }

    /// The next request of this form that has several ranges; if none has, the next.
    pub(super) fn next_of_several(&mut self, form: Form) -> Option<Request> {
        self.plan(form);
        let several = self.planned.iter().position(|request| request.spans.len() > 1);
        self.planned.remove(several.unwrap_or(0))
    }

    /// The longest span, or as much of it as one request takes, if it is worth a request of its own.
    pub(super) fn next_alone(&mut self, most: u64) -> Option<Request> {
        self.unplan();
        let (index, longest) = self.spans.iter().copied().enumerate().max_by_key(|(_, span)| span.len())?;
        if longest.len() < LONG {
            return None;
        }
        let head = Span::with_len(longest.start(), longest.len().min(most))?;
        let rest = Span::new(head.end(), longest.end());
        self.spans.splice(index..=index, rest);
        Some(Request::single(head))
    }

    /// What did not come is asked for again.
    pub(super) fn put_back(&mut self, left: Vec<Span>) {
        if !left.is_empty() {
            self.unplan();
            self.spans.extend(left);
            self.spans.sort_unstable();
        }
    }

    fn plan(&mut self, form: Form) {
        if self.spans.is_empty() && self.form.is_some_and(|made| still_good(made, form)) {
            return;
        }
        self.unplan();
        self.planned = shape(&std::mem::take(&mut self.spans), form).into();
        self.form = Some(form);
    }

    fn unplan(&mut self) {
        self.spans.extend(self.planned.drain(..).flat_map(|request| request.missing));
        self.spans.sort_unstable();
    }
}

/// Whether a plan that was made for one form serves for another: measured costs are never quite the same twice.
fn still_good(made: Form, now: Form) -> bool {
    let close = |a: u64, b: u64| a <= b.saturating_mul(2) && b <= a.saturating_mul(2);
    made.max_ranges == now.max_ranges
        && made.max_bytes == now.max_bytes
        && close(made.range_cost, now.range_cost)
        && close(made.request_cost, now.request_cost)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spans(count: u64, len: u64) -> Vec<Span> {
        (0..count).filter_map(|index| Span::with_len(index * 1_000_000, len)).collect()
    }

    #[test]
    fn the_plan_follows_the_form() {
        let mut todo = Todo::new(&spans(40, 1000));
        assert_eq!(todo.next(Form::of(16)).map(|request| request.spans.len()), Some(16));
        assert_eq!(todo.next(Form::of(128)).map(|request| request.spans.len()), Some(24));
        assert!(todo.is_empty());
        todo.put_back(spans(2, 1000));
        assert_eq!(todo.next(Form::of(1)).map(|request| request.spans.len()), Some(1));
        assert_eq!(todo.one_span(), Span::with_len(1_000_000, 1000));
    }

    #[test]
    fn long_spans_go_alone_while_others_wait() {
        let mut todo = Todo::new(&[spans(3, 1000), vec![Span::with_len(9_000_000, 1 << 20).unwrap()]].concat());
        assert_eq!(todo.next_alone(1_000_000), Some(Request::single(Span::with_len(9_000_000, 1_000_000).unwrap())));
        assert_eq!(todo.next_alone(1_000_000), None, "the rest is short");
        assert_eq!(todo.next_of_several(Form::of(16)).map(|request| request.spans.len()), Some(4));
    }
}
