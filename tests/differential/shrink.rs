//! From a question that shows a difference to the smallest that still does.

use crate::grammar::{Kind, Node, Question, When};

/// The smallest question for which `fails` holds, by greedy steps.
pub(crate) fn smallest(question: &Question, fails: impl Fn(&Question) -> bool) -> Question {
    let mut best = question.clone();
    let mut tries = 0;
    'again: loop {
        for candidate in candidates(&best) {
            tries += 1;
            if tries > 3000 {
                return best;
            }
            if fails(&candidate) {
                best = candidate;
                continue 'again;
            }
        }
        return best;
    }
}

/// Smaller questions, the smallest first.
fn candidates(question: &Question) -> Vec<Question> {
    let mut out: Vec<Question> = Vec::new();
    if let When::Range { start, end, step } = question.when {
        let count = (end - start) / step;
        for i in (0..=count).take(40) {
            out.push(Question { when: When::Instant(start + i * step), ..question.clone() });
        }
        if count > 0 {
            let middle = start + count / 2 * step;
            out.push(Question {
                when: When::Range { start, end: middle, step },
                ..question.clone()
            });
            let later = When::Range { start: middle + step, end, step };
            if middle + step <= end {
                out.push(Question { when: later, ..question.clone() });
            }
            let shorter = When::Range { start, end: end - step, step };
            out.push(Question { when: shorter, ..question.clone() });
        }
    }
    let size = question.expr().len();
    let mut trees = nodes(&question.node);
    trees.retain(|node| node.to_string().len() < size);
    trees.sort_by_key(|node| node.to_string().len());
    out.extend(trees.into_iter().map(|node| Question { node, ..question.clone() }));
    out
}

/// Trees in which one node is replaced by something simpler.
fn nodes(node: &Node) -> Vec<Node> {
    let mut out = Vec::new();
    descendants(node, node.kind, &mut out);
    out.extend(node.simpler.iter().cloned());
    match node.kind {
        Kind::Scalar => out.push(Node::leaf(Kind::Scalar, "1")),
        Kind::Vector => out.push(Node::leaf(Kind::Vector, "lonely")),
        Kind::Matrix => out.push(Node::leaf(Kind::Matrix, "lonely[5m]")),
        Kind::Text => {}
    }
    for (at, child) in node.children.iter().enumerate() {
        for smaller in nodes(child) {
            let mut copy = node.clone();
            copy.children[at] = smaller;
            copy.simpler = Vec::new();
            out.push(copy);
        }
    }
    out
}

fn descendants(node: &Node, kind: Kind, out: &mut Vec<Node>) {
    for child in &node.children {
        if child.kind == kind {
            out.push(child.clone());
        }
        descendants(child, kind, out);
    }
}
