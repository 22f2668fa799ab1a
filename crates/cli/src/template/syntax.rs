//! The syntax tree of a template.

use super::lexer::Literal;
use std::collections::BTreeMap;

/// A list of nodes, rendered one after the other.
pub(super) type Block = Vec<Node>;

/// A parsed template with the templates it defines.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Tree {
    pub(super) root: Block,
    pub(super) defined: BTreeMap<String, Block>,
}

/// One piece of a template.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Node {
    Text(String),
    Action(Pipeline),
    If { condition: Pipeline, then: Block, otherwise: Block },
    With { value: Pipeline, then: Block, otherwise: Block },
    Range { over: Pipeline, body: Block, otherwise: Block },
    Template { name: String, offset: usize, argument: Option<Pipeline> },
    Break,
    Continue,
}

/// `$a, $b := command | command`
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Pipeline {
    pub(super) variables: Vec<String>,
    pub(super) assigns: bool,
    pub(super) commands: Vec<Command>,
}

/// A function or field with its arguments, or a single operand; never empty.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Command {
    pub(super) operands: Vec<Operand>,
    pub(super) offset: usize,
    pub(super) text: String,
}

/// One word of a command, with the offset that errors point at and its text.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Operand {
    pub(super) kind: OperandKind,
    pub(super) offset: usize,
    pub(super) text: String,
}

/// What an operand is.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum OperandKind {
    Dot,
    Nil,
    Bool(bool),
    Literal(Literal),
    Function(String),
    /// `.a.b`
    Field(Vec<String>),
    /// `$x.a.b`
    Variable(String, Vec<String>),
    /// `(pipeline).a.b`
    Parenthesis(Box<Pipeline>, Vec<String>),
}
