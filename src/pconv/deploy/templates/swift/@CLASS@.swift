import C@CLASS@

public enum @CLASS@Error: Error {
    case cannotOpen(String)
    case wrongInputs(allowed: [Int], given: [Int])
    case refused
}

/// @MODEL@, compiled by pconv for @PLATFORM@. Tensors are dense NCHW floats of one sample.
///
/// One instance runs one batch at a time: call it from one thread, and not from the main one.
public final class @CLASS@ {
    public static let inputElems: [Int] = [@INPUT_ELEMS@]
    public static let outputElems: [Int] = [@OUTPUT_ELEMS@]
    private let model: OpaquePointer

    public init(threads: Int32 = 2) throws {
        var why = [CChar](repeating: 0, count: 128)
        guard let opened = @NAME@_open(threads, &why, why.count) else {
            throw @CLASS@Error.cannotOpen(String(cString: why))
        }
        model = opened
    }

    deinit { @NAME@_close(model) }

    /// Run the model on one array for each input; one array comes back for each output.
    public func run(_ inputs: [[Float]]) throws -> [[Float]] {
        let given = inputs.map(\.count)
        guard given == Self.inputElems else {
            throw @CLASS@Error.wrongInputs(allowed: Self.inputElems, given: given)
        }
        let ins = inputs.map { array -> UnsafeMutablePointer<Float> in
            let copy = UnsafeMutablePointer<Float>.allocate(capacity: array.count)
            copy.initialize(from: array, count: array.count)
            return copy
        }
        let outs = Self.outputElems.map { count -> UnsafeMutablePointer<Float> in
            let made = UnsafeMutablePointer<Float>.allocate(capacity: count)
            made.initialize(repeating: 0, count: count)
            return made
        }
        defer { (ins + outs).forEach { $0.deallocate() } }
        let readable = ins.map { UnsafePointer<Float>?($0) }
        let writable = outs.map { UnsafeMutablePointer<Float>?($0) }
        guard @NAME@_run(model, readable, writable, 1) == 0 else { throw @CLASS@Error.refused }
        return zip(outs, Self.outputElems).map { Array(UnsafeBufferPointer(start: $0, count: $1)) }
    }
}
