"""Walk the source graph once and write the normalised graph: shapes static, batch 1, constants computed.

    Conv(x, w)   Shape -> Gather -> Concat      Conv(x, w, b)
        \\            /                    -->        |
         Reshape(y, s)                            Flatten(y)

Each operator converts by its file under `ops/`; what follows (fusions) are passes over the result.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import onnx_ir as ir

from ..errors import ModelError, PconvError, UnsupportedError
from .as_images import as_images
from .batches import Batches
from .folding import fold, is_foldable
from .naming import node_names
from .open_batch import Several
from .ops import shape
from .ranks import align
from .reason import reason
from .refusal import converter_of, refuse, unknown
from .shapes import check_rank, input_shape, is_for_one_sample, source_batch
from .site import Builder, Operand, Site, shape_of
from .types import Types

OPSETS = range(9, 26)


@dataclass(frozen=True, slots=True)
class _State:
    """What is known of the source's values so far, and the graph that is written."""

    known: dict[ir.Value, Operand]
    types: Types
    batches: Batches
    several: Several
    opset: int
    builder: Builder
    source: ir.Graph


def translate(model: ir.Model) -> ir.Model:
    """Translate a source model to domain `pconv`, one node at a time.

    Raises:
        UnsupportedError: an operator, attribute or opset that pconv does not do.
        ModelError: the graph is not valid ONNX.
    """
    source = model.graph
    opset = _opset(model)
    inputs = [value for value in source.inputs if value.name not in source.initializers]
    values = [*inputs, *(output for node in source for output in node.outputs)]
    reserved = [value.name or "" for value in values]
    builder = Builder(source.name or "model", reserved, source_batch(inputs), is_for_one_sample(inputs))
    known: dict[ir.Value, Operand] = {}
    several = Several(model, builder.source_batch, builder.one_sample)
    state = _State(known, Types(), Batches(), several, opset, builder, source)
    for value in inputs:
        known[value] = builder.add_input(value.name or "", input_shape(value))
    _know_constants(source, known)
    names = node_names(source)
    refuse(source, names)
    for node, name in names.items():
        _convert(node, name, state)
    _finish(state)
    return ir.Model(
        builder.graph,
        ir_version=model.ir_version,
        producer_name="pconv",
        metadata_props=dict(model.metadata_props),
    )


def _opset(model: ir.Model) -> int:
    versions = [version for domain, version in model.opset_imports.items() if domain in ("", "ai.onnx")]
    if not versions and all(converter_of(node) is None for node in model.graph):
        return OPSETS[-1]  # none is an operator of ONNX itself: each is refused by name
    if not versions:
        raise ModelError(
            "the model names no ONNX opset: it is cut off or not an ONNX model. Export it again."
        )
    if versions[0] not in OPSETS:
        raise UnsupportedError(
            f"the model uses ONNX opset {versions[0]}; allowed: {OPSETS[0]} to {OPSETS[-1]}. "
            "Convert it with onnx.version_converter, or export it again with opset_version=18."
        )
    return versions[0]


def _know_constants(graph: ir.Graph, known: dict[ir.Value, Operand]) -> None:
    for value in graph.initializers.values():
        if value.const_value is None:
            raise ModelError(f"initialiser {value.name}: it has no data. Export the model again.")
        known[value] = value.const_value.numpy()


def _convert(node: ir.Node, name: str, state: _State) -> None:
    known = state.known
    operands = [None if value is None else _operand(name, value, known) for value in node.inputs]
    arrays = [operand for operand in operands if not isinstance(operand, ir.Value)]
    if len(arrays) == len(operands) and is_foldable(node):
        folded = fold(node, name, arrays, state.opset)
        known.update(zip(node.outputs, folded, strict=False))
        state.several.folded(node, name, arrays, folded, state.opset)
        return
    if node.op_type == "If" and arrays and arrays[0] is not None:
        _take_branch(node, name, bool(arrays[0].any()), state)
        return
    converter = converter_of(node)
    if converter is None:  # random numbers, and others that read nothing
        raise unknown(node, name, state.source)
    state.types.check(node, name, operands)
    dropped = state.batches.inherited(node, name, operands)
    try:
        read = state.types.read(node, operands)
        site = Site(node, name, operands, read, state.opset, state.builder, dropped == "here")
        state.several.refuse_counts(site)
        align(site, state.batches.batched(node, operands) if site.reads_unbatched else ())
        change = as_images(site)
        made = converter(site)
        if site.op in shape.CONVERTERS:
            state.several.measured(site)
        if change is not None and isinstance(made, ir.Value):
            made = site.named(made, change(made))
        state.types.note(node, read)
        state.batches.note(node, dropped if site.drops_batch is None else site.drops_batch)
        results: list[Operand] = made if isinstance(made, list) else [made]
        state.several.check(site, results, state.batches)
    except PconvError:
        raise
    except Exception as error:  # a converter trusts the node; a broken file may hold anything
        raise ModelError(
            f"{name} ({node.op_type}): the node is not valid ONNX ({reason(error)}). Export it again."
        ) from error
    known.update(zip(node.outputs, results, strict=False))


def _take_branch(node: ir.Node, name: str, chosen: bool, state: _State) -> None:
    """Convert the branch of an If that shapes and constants decide, as torch's older exporter writes squeeze(dim)."""
    graph = node.attributes["then_branch" if chosen else "else_branch"].as_graph()
    _know_constants(graph, state.known)
    for inner, inner_name in node_names(graph).items():
        _convert(inner, f"{name}.{inner_name}", state)
    for output, value in zip(node.outputs, graph.outputs, strict=True):
        state.known[output] = _operand(name, value, state.known)
        state.types.same(output, value)
        state.batches.same(output, value)


def _operand(name: str, value: ir.Value, known: Mapping[ir.Value, Operand]) -> Operand:
    if value in known:
        return known[value]
    producer = value.producer()
    if producer is not None and producer.outputs[0] in known:
        raise _second(f"{name}: it reads", value, producer)
    raise ModelError(f"{name}: its input {value.name} is computed nowhere before it. Export the model again.")


def _second(what: str, value: ir.Value, producer: ir.Node) -> UnsupportedError:
    return UnsupportedError(
        f"{what} output {value.index()} of a {producer.op_type} ({value.name}); "
        "allowed: the first output only. Change the model before the export."
    )


def _finish(state: _State) -> None:
    """Declare the outputs under their names and types; each is a value of its own, computed by a node."""
    source, known, builder = state.source, state.known, state.builder
    graph = builder.graph
    if not source.outputs:
        raise ModelError("the model has no outputs: it is cut off or not an ONNX model. Export it again.")
    for i, output in enumerate(source.outputs):
        if output in source.outputs[:i]:
            raise ModelError(f"output {output.name}: the model lists it twice. Export the model again.")
        value, producer = known.get(output), output.producer()
        if value is None and producer is not None and producer.outputs[0] in known:
            raise _second(f"output {output.name}: it is", output, producer)
        if value is None:
            raise ModelError(f"output {output.name}: no node computes it. Export the model again.")
        if output in source.inputs:
            raise UnsupportedError(
                f"output {output.name}: it is an input of the model; allowed: results of nodes. Remove it from the "
                "model's outputs."
            )
        if not isinstance(value, ir.Value):
            raise UnsupportedError(
                f"output {output.name}: it does not depend on any input; allowed: results of the inputs. "
                "Remove it from the model's outputs."
            )
        name = output.name or ""
        if value.producer() is None or value in graph.outputs:
            assert value.shape is not None
            value = builder.emit(
                "Activation",
                [value],
                (),
                value.shape.numpy(),
                {},
                node=f"{name}.copy",
                output=builder.fresh(name),
            )
        if state.batches.lacks(output):
            value = _without_batch(value, name, builder)
        check_rank(f"output {name}", shape_of(value))
        value.name, value.type = name, ir.TensorType(state.types.of(output))
        graph.outputs.append(value)


def _without_batch(value: ir.Value, name: str, builder: Builder) -> ir.Value:
    """Append the last change of shape of an output that has no batch, before it gets its name."""
    if value.name == name:
        value.name = builder.fresh(f"{name}.sample")
    fresh = builder.fresh(name)
    return builder.emit(
        "Flatten", [value], (), shape_of(value)[1:], {}, node=f"{name}.unbatched", output=fresh
    )
