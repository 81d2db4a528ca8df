// The vector files of HTTP/1: how they are written and what a parser's result looks like in them.
//
//   name | verdict | bytes
//
// Bytes are text with the escapes \r \n \t \0 \\ \xNN, and {H} for "Host: a.example\r\n". A verdict is
// a status and word of HTTPViolation, `more`, or `ok` and what was read. Lines that start with # and
// empty lines are comments.

import Bytes
import Foundation
import Testing
import Wire

struct Vector: Sendable, CustomStringConvertible {
  let name: String
  let verdict: String
  let bytes: [UInt8]
  var description: String { name }

  static func load(_ file: String) -> [Vector] {
    let path = URL(fileURLWithPath: #filePath).deletingLastPathComponent()
      .appendingPathComponent("Vectors/http1/\(file)")
    let text = try! String(contentsOf: path, encoding: .utf8)
    return text.split(separator: "\n").filter { !$0.hasPrefix("#") }.map { line in
      let parts = line.components(separatedBy: " | ")
      precondition(parts.count == 3, "vector without three columns: \(line)")
      return Vector(
        name: parts[0].trimmingCharacters(in: .whitespaces),
        verdict: parts[1].trimmingCharacters(in: .whitespaces), bytes: unescape(parts[2]))
    }
  }

  static func unescape(_ text: String) -> [UInt8] {
    var rest = Array(text.replacingOccurrences(of: "{H}", with: #"Host: a.example\r\n"#).utf8)[...]
    var bytes: [UInt8] = []
    while let byte = rest.popFirst() {
      guard byte == UInt8(ascii: "\\"), let kind = rest.popFirst() else {
        bytes.append(byte)
        continue
      }
      switch kind {
      case UInt8(ascii: "r"): bytes.append(13)
      case UInt8(ascii: "n"): bytes.append(10)
      case UInt8(ascii: "t"): bytes.append(9)
      case UInt8(ascii: "0"): bytes.append(0)
      case UInt8(ascii: "\\"): bytes.append(kind)
      case UInt8(ascii: "x"):
        bytes.append(UInt8(String(decoding: rest.prefix(2), as: UTF8.self), radix: 16)!)
        rest = rest.dropFirst(2)
      default: preconditionFailure("unknown escape in a vector: \(text)")
      }
    }
    return bytes
  }
}

extension HTTPViolation {
  var verdict: String { "\(status) \(word)" }
}

extension BodyFraming.Length {
  var verdict: String {
    switch self {
    case .none: "none"
    case .length(let count): "\(count)"
    case .chunked: "chunked"
    case .untilClose: "close"
    }
  }
}

extension RequestHead {
  /// `ok GET /path ?query host=a.example body=none`, with `ok/1.0` for that version.
  var verdict: String {
    let query = query.map { " ?\(string($0))" } ?? ""
    let host = host.map { "\($0)" } ?? "-"
    return "ok\(version == .http10 ? "/1.0" : "") \(string(method)) \(string(path))\(query)"
      + " host=\(host) body=\(bodyFraming.verdict)"
  }
}

extension ResponseHead {
  /// `ok 200 OK body=5`, with `ok/1.0` for that version.
  var verdict: String {
    "ok\(version == .http10 ? "/1.0" : "") \(status) \(string(reason)) body=\(bodyFraming.verdict)"
  }
}

/// The defaults of the configuration.
let requestLimits = HeadLimits(headBytesMax: 32 * 1024, fieldsMax: 100, lineBytesMax: 8 * 1024)
let responseLimits = HeadLimits(
  headBytesMax: 64 * 1024, fieldsMax: 200, lineBytesMax: 8 * 1024)

/// Feeds pieces as a connection does: what has come so far is presented again with each piece. Bytes
/// behind the head are reported as `+count`.
func requestVerdict(_ pieces: [ArraySlice<UInt8>], _ limits: HeadLimits = requestLimits) -> String {
  var parser = RequestParser(limits: limits)
  let total = pieces.reduce(0) { $0 + $1.count }
  return headVerdict(pieces) { (bytes) throws(HTTPViolation) in
    guard case .done(let head, let consumed) = try parser.parse(bytes.span) else { return nil }
    return head.verdict + (total > consumed ? " +\(total - consumed)" : "")
  }
}

func responseVerdict(
  _ pieces: [ArraySlice<UInt8>], _ limits: HeadLimits = responseLimits
) -> String {
  var room = HeadRoom()
  return responseVerdict(pieces, limits, in: &room)
}

func responseVerdict(
  _ pieces: [ArraySlice<UInt8>], _ limits: HeadLimits = responseLimits, in room: inout HeadRoom
) -> String {
  var parser = ResponseParser(limits: limits)
  let total = pieces.reduce(0) { $0 + $1.count }
  return headVerdict(pieces) { (bytes) throws(HTTPViolation) in
    guard case .done(var head, let consumed) = try parser.parse(bytes.span, in: &room) else {
      return nil
    }
    defer { room.take(from: &head) }
    return head.verdict + (total > consumed ? " +\(total - consumed)" : "")
  }
}

private func headVerdict(
  _ pieces: [ArraySlice<UInt8>], _ parse: ([UInt8]) throws(HTTPViolation) -> String?
) -> String {
  var received: [UInt8] = []
  for piece in pieces {
    received += piece
    do throws(HTTPViolation) {
      if let verdict = try parse(received) { return verdict }
    } catch {
      return error.verdict
    }
  }
  return "more"
}

/// Bytes as the vectors write them.
func escaped(_ bytes: [UInt8]) -> String {
  bytes.map { byte in
    switch byte {
    case 13: #"\r"#
    case 10: #"\n"#
    case 9: #"\t"#
    case UInt8(ascii: "\\"): #"\\"#
    case 0x20..<0x7f: String(UnicodeScalar(byte))
    default: #"\x"# + (byte < 16 ? "0" : "") + String(byte, radix: 16)
    }
  }.joined()
}

/// What is left of a body without its framing.
struct DecodedBody: Equatable {
  var verdict: String
  var content: [UInt8] = []
  var trailers: [UInt8] = []

  /// `ok 15 "hello"`, with ` + "A: 1\r\n"` for trailers; everything else is its verdict alone.
  var text: String {
    guard verdict.hasPrefix("ok") else { return verdict }
    let lines = trailers.isEmpty ? "" : " + \"\(escaped(trailers))\""
    return "\(verdict) \"\(escaped(content))\"\(lines)"
  }
}

/// Each byte is presented once, as a body is.
func decodeBody(_ length: BodyFraming.Length, _ pieces: [ArraySlice<UInt8>]) -> DecodedBody {
  var framing = BodyFraming(length)
  var body = DecodedBody(verdict: "")
  var consumed = 0
  for piece in pieces {
    do throws(HTTPViolation) {
      let progress = try framing.advance(piece.span) { range in
        // An empty range would be a chunk of nothing, which ends a body, if it were written.
        #expect(!range.isEmpty)
        body.content +=
          piece[(piece.startIndex + range.lowerBound)..<(piece.startIndex + range.upperBound)]
      }
      switch progress {
      case .needMore:
        consumed += piece.count
        #expect(framing.trailers.isEmpty)
      case .complete(let count):
        // A piece behind the end must be left alone.
        body.verdict = "ok \(consumed + count)"
        body.trailers = framing.trailers
        return body
      }
    } catch {
      return DecodedBody(verdict: error.verdict)
    }
  }
  body.verdict = framing.mayEndHere ? "open" : "more"
  return body
}

func bodyVerdict(_ length: BodyFraming.Length, _ pieces: [ArraySlice<UInt8>]) -> String {
  decodeBody(length, pieces).text
}
