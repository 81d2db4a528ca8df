import Bytes
import Configuration
import Wire

@testable import Gateway

private let limits = HeadLimits(headBytesMax: 65_536, fieldsMax: 200, lineBytesMax: 32_768)

/// A parsed upgrade request with these field lines after Host.
func request(_ fields: [String] = [], target: String = "/ws?x=1", host: String = "a.test")
  -> RequestHead
{
  let lines = ["GET \(target) HTTP/1.1", "Host: \(host)"] + fields
  let bytes = Array((lines.joined(separator: "\r\n") + "\r\n\r\n").utf8)
  var parser = RequestParser(limits: limits)
  guard case .done(let head, _) = try? parser.parse(bytes.span) else {
    fatalError("not a request: \(lines)")
  }
  return head
}

func response(_ fields: [String] = [], status: String = "101 Switching Protocols") -> ResponseHead {
  let lines = ["HTTP/1.1 \(status)"] + fields
  let bytes = Array((lines.joined(separator: "\r\n") + "\r\n\r\n").utf8)
  var parser = ResponseParser(limits: limits)
  guard case .done(let head, _) = try? parser.parse(bytes.span) else {
    fatalError("not a response: \(lines)")
  }
  return head
}

/// A written head, taken apart.
struct WrittenHead: Equatable {
  var startLine: String
  var fields: [String]

  init(_ bytes: [UInt8]?) {
    let text = String(decoding: bytes ?? [], as: UTF8.self)
    var lines = text.components("\r\n")
    startLine = lines.removeFirst()
    // A head ends with an empty line, and only there.
    let end = lines.suffix(2)
    fields = end.elementsEqual(["", ""]) ? lines.dropLast(2) : ["BROKEN"] + lines
    if fields.contains("") || fields.contains(where: { $0.contains("\n") || $0.contains("\r") }) {
      fields = ["BROKEN"] + fields
    }
  }

  /// The values of all fields of that name, whatever its case.
  func values(_ name: String) -> [String] {
    fields.filter { $0.lowercased().hasPrefix(name.lowercased() + ":") }
      .map { String($0.dropFirst(name.count + 2)) }
  }
}

extension String {
  fileprivate func components(_ separator: String) -> [String] {
    var parts: [String] = []
    var part: [UInt8] = []
    let stop = Array(separator.utf8)
    for byte in utf8 {
      part.append(byte)
      if part.suffix(stop.count).elementsEqual(stop) {
        parts.append(String(decoding: part.dropLast(stop.count), as: UTF8.self))
        part = []
      }
    }
    return parts + [String(decoding: part, as: UTF8.self)]
  }
}

func edits(set: [(String, String)] = [], remove: [String] = []) -> HeaderEdits {
  var edits = HeaderEdits()
  edits.set = set.map { HeaderField(name: $0.0, value: $0.1) }
  edits.remove = remove
  return edits
}

/// The trusted network of these tests is 10.0.0.0/8.
func identity(
  _ head: RequestHead, peer: String? = "192.0.2.7", isTLS: Bool = false, localPort: UInt16? = 8080
) -> ClientIdentity {
  ClientIdentity(
    of: head, peer: peer.flatMap { IPAddress(parsing: $0) }, isTLS: isTLS, localPort: localPort,
    trusted: [.init(parsing: "10.0.0.0/8")!, .init(parsing: "fd00::/8")!],
    random: (0x0123_4567_89ab_cdef, 0xfedc_ba98_7654_3210))
}
