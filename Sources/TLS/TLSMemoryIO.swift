// OpenSSL's transport: a BIO that reads from the bytes of one `receive` and writes to the worker's
// send buffer. What it works on lives on the stack of that call and is lent for its duration only;
// between calls the BIO has nothing, so a session at rest owns no buffer and no pointer.

internal import Bytes
internal import COpenSSL

/// What one call lends to OpenSSL.
@unsafe
struct TLSMemoryIO {
  /// Ciphertext that OpenSSL has not taken yet.
  var next: UnsafePointer<UInt8>?
  var left: Int
  var output: Unmanaged<SharedBuffer>
  var watch: PeerWatch
  var isEstablished: Bool

  // Safety: `bio` is one of ours, and OpenSSL calls it only inside `TLSSession.lend`, which has set
  // its data to a `TLSMemoryIO` that outlives the call and is reached by no other path meanwhile.
  @inline(always)
  static func lent(to bio: OpaquePointer?) -> UnsafeMutablePointer<TLSMemoryIO>? {
    unsafe BIO_get_data(bio)?.assumingMemoryBound(to: TLSMemoryIO.self)
  }

  /// One method table for all sessions of the process. Nil only when memory is out.
  // Safety: written once, by its initialiser; OpenSSL only reads it afterwards.
  nonisolated(unsafe) static let method: OpaquePointer? = {
    let type = BIO_get_new_index() | BIO_TYPE_SOURCE_SINK
    // Safety: the functions below match OpenSSL's types and live as long as the program.
    guard let method = unsafe BIO_meth_new(type, "bascule") else { return nil }
    unsafe BIO_meth_set_read(method, memoryRead)
    unsafe BIO_meth_set_write(method, memoryWrite)
    unsafe BIO_meth_set_ctrl(method, memoryControl)
    return unsafe method
  }()

  /// A BIO with nothing lent to it.
  static func makeBIO() -> OpaquePointer? {
    // Safety: a fresh BIO; `init` must be set for OpenSSL to use it at all.
    guard let bio = unsafe BIO_new(method) else { return nil }
    unsafe BIO_set_init(bio, 1)
    return unsafe bio
  }
}

/// OpenSSL wants ciphertext. -1 with the retry flag means "no more for now".
@c(bascule_tls_read)
func memoryRead(_ bio: OpaquePointer?, _ target: UnsafeMutablePointer<CChar>?, _ size: CInt) -> CInt
{
  unsafe BIO_clear_flags(bio, BIO_FLAGS_READ | BIO_FLAGS_SHOULD_RETRY)
  guard let io = unsafe TLSMemoryIO.lent(to: bio), let target = unsafe target else { return -1 }
  // Without the retry flag OpenSSL gives up: a peer that we have condemned is read no further.
  if unsafe io.pointee.watch.verdict != nil { return -1 }
  guard let source = unsafe io.pointee.next, unsafe io.pointee.left > 0, size > 0 else {
    unsafe BIO_set_flags(bio, BIO_FLAGS_READ | BIO_FLAGS_SHOULD_RETRY)
    return -1
  }
  let count = min(Int(size), unsafe io.pointee.left)
  // Safety: `target` has room for `size`, `source` holds `left` bytes, and count is within both.
  unsafe UnsafeMutableRawPointer(target).copyMemory(from: source, byteCount: count)
  unsafe io.pointee.next = source + count
  unsafe io.pointee.left -= count
  return CInt(truncatingIfNeeded: count)
}

/// OpenSSL has records to send. The send buffer grows, so this always takes everything.
@c(bascule_tls_write)
func memoryWrite(_ bio: OpaquePointer?, _ source: UnsafePointer<CChar>?, _ size: CInt) -> CInt {
  guard let io = unsafe TLSMemoryIO.lent(to: bio), let source = unsafe source, size > 0 else {
    return -1
  }
  // Safety: OpenSSL lends `size` bytes at `source`; the caller of the session keeps `output` alive.
  let bytes = unsafe UnsafeRawBufferPointer(start: source, count: Int(size))
  unsafe io.pointee.output.takeUnretainedValue().append(
    bytes.assumingMemoryBound(to: UInt8.self).span)
  return size
}

/// Flushing is done by the worker; the end of the stream is the worker's matter as well.
@c(bascule_tls_control)
func memoryControl(
  _ bio: OpaquePointer?, _ command: CInt, _ number: Int, _ pointer: UnsafeMutableRawPointer?
) -> Int {
  command == BIO_CTRL_FLUSH ? 1 : 0
}
