"""Normalised graph -> Plan. Two walks: layouts from end to start, steps from start to end; then the arena."""

from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import replace

from pconv.graph.nodes import GraphView, NodeView, is_image
from pconv.lower.arena import plan_arena
from pconv.lower.choice import Picker, pick_modelled
from pconv.lower.context import Context
from pconv.lower.fold import fold, in_parts
from pconv.lower.geometry import cheapest
from pconv.lower.in_place import write_in_place
from pconv.lower.layout import Layout, planar
from pconv.lower.ops import OPERATORS
from pconv.lower.ops.gather import relayout
from pconv.lower.pairs import pair_steps
from pconv.lower.plan import Plan, Step, Tensor
from pconv.progress import Progress
from pconv.targets import Target

Place = tuple[int, ...]
"""What two tensors of one value differ in: the geometry; 1 behind it where a halo makes another tensor."""


def lower(
    graph: GraphView,
    target: Target,
    dense: frozenset[str] = frozenset(),
    progress: Progress | None = None,
    pick: Picker = pick_modelled,
    images: int = 1,
) -> Plan:
    """Lower a normalised graph for a target; the layers named in `dense` ignore their zeros.

    `pick` takes one of the ways to run each convolution. So many `images` of a batch share lanes where they are small.

    Raises: UnsupportedError when a layer asks for what no micro-kernel does; BuildError for too many images.
    """
    ctx = Context(graph, target, dense, pick, fold(graph, images, target))
    return _Lowering(ctx).run(progress)


class _Lowering:
    def __init__(self, ctx: Context) -> None:
        self.ctx = ctx
        self.main: dict[str, Place] = {}
        self.dense: set[str] = set()
        self.bare: set[str] = set()
        self.layouts: dict[str, dict[Place, Layout]] = {}
        self.tensors: dict[tuple[str, Place], Tensor] = {}
        self.wanted: dict[str, set[Place]] = {}
        self.steps: list[Step] = []

    def run(self, progress: Progress | None) -> Plan:
        graph = self.ctx.graph
        # What images share has their lanes, and no image of its own before a copy behind it.
        self.dense = {*_written_dense(graph.nodes), *graph.inputs} - self.ctx.fold.values
        self.bare = {name for node in graph.nodes if OPERATORS[node.op].bare_inputs for name in node.tensors}
        # Twice: what all readers of a value want is known only at the end of the first walk.
        self._settle_layouts({})
        wants = self._settle_layouts({name: set(layouts) for name, layouts in self.layouts.items()})
        for i, name in enumerate(graph.inputs):
            tensor = Tensor(name, self.ctx.channels(name), _dense(graph.shapes[name]), "input", i)
            self.tensors[name, self.main[name]] = tensor
        for count, node in enumerate(graph.nodes):
            if progress:
                progress(node.name, count, len(graph.nodes))
            inputs = [
                self._tensor(name, want) for name, want in zip(node.tensors, wants[node.name], strict=True)
            ]
            output = self._output_tensor(node.output)
            same = node.op == "Flatten" and _is_view(inputs[0], output)
            if same:
                output = replace(inputs[0], channels=output.channels, layout=output.layout)
            self.tensors[node.output, self.main[node.output]] = output
            self.steps += [] if same else OPERATORS[node.op].emit(node, self.ctx, inputs, output)
        outputs = [self._model_output(i, name) for i, name in enumerate(graph.outputs)]
        target = self.ctx.target
        in_order = write_in_place(pair_steps(in_parts(self.steps), target), target)
        steps, arena_bytes, prepared_bytes = plan_arena(in_order)
        return Plan(
            name=graph.name,
            target=target,
            inputs=tuple(self.tensors[n, self.main[n]] for n in graph.inputs),
            outputs=tuple(outputs),
            input_shapes=tuple(graph.shapes[n] for n in graph.inputs),
            output_shapes=tuple(graph.shapes[n] for n in graph.outputs),
            output_names=graph.outputs,
            output_types=tuple(graph.types.get(n, "float32") for n in graph.outputs),
            preparation=tuple(step for step in steps if step.once),
            steps=tuple(step for step in steps if not step.once),
            arena_bytes=arena_bytes,
            prepared_bytes=prepared_bytes,
            images=self.ctx.fold.images,
        )

    def _set_main(self, name: str, layout: Layout) -> None:
        self.main[name] = layout.geometry
        self.layouts[name] = {layout.geometry: layout}
        self.wanted[name] = set()

    def _settle_layouts(self, known: Mapping[str, set[Place]]) -> dict[str, list[Layout | None]]:
        """Collect what every consumer wants; several wishes of one geometry become one layout.

        `known` are the places in which values are wanted, as far as a walk before this one has seen.
        """
        graph = self.ctx.graph
        for name in graph.inputs:
            self._set_main(name, _dense(graph.shapes[name]))
        for node in graph.nodes:
            dense = node.output in self.dense
            natural = self.ctx.natural(node.output, self.ctx.fold.of(node.output))
            self._set_main(node.output, _dense(node.out_shape) if dense else natural)
        wants: dict[str, list[Layout | None]] = {}
        for node in reversed(graph.nodes):
            if node.op == "Conv" and not node.text("pool"):
                self._choose_geometry(node, known)
            output = self.layouts[node.output][self.main[node.output]]
            wants[node.name] = [
                self._apart(node, name, want)
                for name, want in zip(
                    node.tensors, OPERATORS[node.op].wants(node, self.ctx, output), strict=True
                )
            ]
            for name, want in zip(node.tensors, wants[node.name], strict=True):
                if want is not None:
                    place = self._place(name, want)
                    have = self.layouts[name].get(place, want)
                    merged = have.with_halo(want.top, want.left, want.bottom, want.right)
                    self.layouts[name][place] = merged
                    self.wanted[name].add(place)
        return wants

    def _apart(self, node: NodeView, name: str, want: Layout | None) -> Layout | None:
        """Return what a node wants of an input: also of one that it takes as it is, but with other images in lanes."""
        images = self.ctx.fold.of(node.output)
        if want is not None or images == self.ctx.fold.of(name):
            return want
        return self.ctx.natural(name, images) if images > 1 else _dense(self.ctx.graph.shapes[name])

    def _choose_geometry(self, node: NodeView, known: Mapping[str, set[Place]]) -> None:
        """Let a convolution write what its readers want, where that is cheaper than copies."""
        layouts, main = self.layouts[node.output], self.main[node.output]
        wanted = [layouts[place] for place in self.wanted[node.output]]
        if layouts[main].planar or all(layout.geometry == layouts[main].geometry for layout in wanted):
            return
        wants = OPERATORS["Conv"].wants
        places = {name: {*self.layouts[name], *known.get(name, ())} for name in node.tensors}
        chosen = cheapest(node, self.ctx, wants, layouts[main], wanted, places)
        self.main[node.output] = chosen.geometry

    def _place(self, name: str, layout: Layout) -> Place:
        """Return which tensor of a value has a layout; one that is dense, or read so, cannot get a halo itself."""
        halo = layout.top or layout.left or layout.bottom or layout.right
        apart = halo and layout.planar and (name in self.dense or name in self.bare)
        return (*layout.geometry, 1) if apart else layout.geometry

    def _tensor(self, name: str, want: Layout | None) -> Tensor:
        """Return a value in the wanted geometry, adding the step that makes it where it is not there yet."""
        place = self.main[name] if want is None else self._place(name, want)
        if (name, place) not in self.tensors:
            source = self.tensors[name, self.main[name]]
            copy = Tensor(f"{name}@{'x'.join(map(str, place))}", source.channels, self.layouts[name][place])
            step = relayout(f"{name}:relayout", source, copy)
            self.steps.append(replace(step, once=self._is_made_once(source) and copy.layout.images == 1))
            self.tensors[name, place] = copy
        return self.tensors[name, place]

    def _is_made_once(self, tensor: Tensor) -> bool:
        return any(step.once and step.output.name == tensor.name for step in self.steps)

    def _output_tensor(self, name: str) -> Tensor:
        """Let a dense result that nobody else reads go straight to the caller's memory."""
        layout = self.layouts[name][self.main[name]]
        graph = self.ctx.graph
        read = any(name in node.tensors for node in graph.nodes)
        if name in graph.outputs and not read and layout.planar and graph.outputs.count(name) == 1:
            return Tensor(name, self.ctx.channels(name), layout, "output", graph.outputs.index(name))
        return Tensor(name, self.ctx.channels(name), layout)

    def _model_output(self, i: int, name: str) -> Tensor:
        made = self.tensors[name, self.main[name]]
        if made.space == "output":
            return made
        out = Tensor(f"{name}:output{i}", made.channels, _dense(self.ctx.graph.shapes[name]), "output", i)
        self.steps.append(relayout(f"{name}:output", made, out))
        return out


def _written_dense(nodes: Sequence[NodeView]) -> set[str]:
    """Name the nodes' outputs that are dense, as what a resize, or a sigmoid after one, writes for the caller."""
    able: set[str] = set()
    for node in nodes:
        operator = OPERATORS[node.op]
        if operator.planar_output or operator.planar_result or _goes_through(node, able):
            able.add(node.output)
    in_blocks: set[str] = set()
    for node in reversed(nodes):
        through = _goes_through(node, able) and node.output not in in_blocks
        if not OPERATORS[node.op].planar_output and not through:
            in_blocks.update(node.tensors)
    dense: set[str] = set()
    for node in nodes:
        operator = OPERATORS[node.op]
        follows = operator.planar_result or _goes_through(node, dense)
        if operator.planar_output or (node.output not in in_blocks and follows):
            dense.add(node.output)
    return dense


def _goes_through(node: NodeView, dense: AbstractSet[str]) -> bool:
    """Tell whether a node can write dense memory because all that it reads is."""
    return OPERATORS[node.op].planar_through and all(name in dense for name in node.tensors)


def _is_view(source: Tensor, output: Tensor) -> bool:
    """Tell whether what has another shape is the same memory: dense, and not the caller's."""
    bare = all(
        t.layout.planar and t.layout.plane_elems == t.layout.height * t.layout.width for t in (source, output)
    )
    return bare and source.layout.dtype == output.layout.dtype and output.space == "arena"


def _dense(shape: tuple[int, ...]) -> Layout:
    """Return the dense layout of a [1, c, h, w] map or a [1, k] row."""
    return planar(shape[2], shape[3]) if is_image(shape) else planar(1, 1)
