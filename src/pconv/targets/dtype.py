"""What numbers a program stores and computes with: plain data. A new one is a line here, and how C spells it."""

from dataclasses import dataclass

_BYTES = {"float32": 4, "float16": 2}


@dataclass(frozen=True, slots=True)
class DType:
    """How activations and weights lie in memory (`stored`), and what they are multiplied and summed in (`computed`).

    `name` is what a person says, `tag` begins a micro-kernel's name; `stored` and `computed` are numpy's names.
    """

    name: str
    tag: str
    stored: str
    computed: str

    @property
    def elem_bytes(self) -> int:
        """Bytes of one stored number."""
        return _BYTES[self.stored]

    @property
    def computed_bytes(self) -> int:
        """Bytes of one number in a register."""
        return _BYTES[self.computed]

    @property
    def narrow(self) -> bool:
        """Whether sums are kept in less than floats."""
        return self.computed_bytes < FP32.computed_bytes

    @property
    def converts(self) -> bool:
        """Whether loads and stores convert."""
        return self.stored != self.computed

    @property
    def in_floats(self) -> "DType":
        """What stores the same and computes with floats."""
        return FP16_FP32ACC if self.narrow else self


FP32 = DType("fp32", "f32", "float32", "float32")
FP16 = DType("fp16", "f16", "float16", "float16")
FP16_FP32ACC = DType("fp16-fp32acc", "f16f32acc", "float16", "float32")

DTYPES = (FP32, FP16, FP16_FP32ACC)


@dataclass(frozen=True, slots=True)
class Support:
    """What a CPU needs for a type beyond fp32: features, and the flags that let a compiler use them."""

    dtype: DType
    features: tuple[str, ...] = ()
    cflags: tuple[str, ...] = ()
    zig_cflags: tuple[str, ...] = ()
