// libyaml's parser as a sequence of Swift values. The only file of the module that is unsafe: it
// owns the C parser and the bytes it reads, and lets no pointer out. What the events mean, and how
// many there may be, is decided by NodeBuilder.
import CYAML

/// What a YAML file is made of (YAML 1.1), without the parts this program has no use for.
enum YAMLEvent {
  case streamStart, streamEnd, documentStart, documentEnd
  case alias(String)
  /// `plain`: written without quotes and not as a block.
  case scalar(String, plain: Bool)
  case sequenceStart, sequenceEnd, mappingStart, mappingEnd
}

/// An event, what is attached to it, and where it starts (line and column from 1).
struct YAMLItem {
  var event: YAMLEvent
  var anchor: String?
  var tag: String?
  var line: Int
  var column: Int
}

/// Why the bytes are no YAML, in libyaml's words or ours; the latter have no context.
struct YAMLProblem: Error {
  var message: String
  var context = ""
  var line: Int
  var column: Int
  /// A text in quotes that has gone on to the line of the problem, and begins on one before.
  var quotedText: (line: Int, column: Int)?
  /// Likewise, a list or mapping in brackets.
  var brackets: (line: Int, column: Int)?
  /// Known instead of line and column when the bytes are not even characters YAML allows.
  var byteOffset: Int?
}

/// Pulls events out of UTF-8 bytes. After a problem, or after `streamEnd`, there is no next event.
@safe
struct YAMLEvents: ~Copyable {
  // Safety: both are allocated in init and freed in deinit only. The parser keeps pointers to
  // itself and to the input, therefore neither may live inside a Swift value that moves.
  private let parser: UnsafeMutablePointer<yaml_parser_t>
  private let input: UnsafeMutableBufferPointer<UInt8>
  /// The last text in quotes of several lines.
  private var quotedText: (line: Int, column: Int, lastLine: Int)?

  /// nil: out of memory. `bytes` must be valid UTF-8.
  init?(_ bytes: [UInt8]) {
    // Safety: `input` holds exactly `bytes.count` bytes, initialised before the parser sees them.
    unsafe parser = .allocate(capacity: 1)
    unsafe input = .allocate(capacity: bytes.count)
    _ = unsafe input.initialize(fromContentsOf: bytes)
    guard unsafe yaml_parser_initialize(parser) == 1 else {
      unsafe parser.deallocate()
      unsafe input.deallocate()
      return nil
    }
    unsafe yaml_parser_set_encoding(parser, YAML_UTF8_ENCODING)
    unsafe yaml_parser_set_input_string(parser, input.baseAddress, input.count)
  }

  deinit {
    // Safety: initialised in init; nothing outlives self.
    unsafe yaml_parser_delete(parser)
    unsafe parser.deallocate()
    unsafe input.deallocate()
  }

  mutating func next() throws(YAMLProblem) -> YAMLItem {
    // Safety: filled when libyaml returns 1, and deleted after its strings were copied.
    var event = unsafe yaml_event_t()
    guard unsafe yaml_parser_parse(parser, &event) == 1 else { throw problem() }
    defer { unsafe yaml_event_delete(&event) }
    let mark = unsafe event.start_mark
    var item = YAMLItem(
      event: .streamStart, line: saturating(mark.line), column: saturating(mark.column))
    switch unsafe event.type {
    case YAML_STREAM_START_EVENT: item.event = .streamStart
    case YAML_DOCUMENT_START_EVENT: item.event = .documentStart
    case YAML_DOCUMENT_END_EVENT: item.event = .documentEnd
    case YAML_ALIAS_EVENT: item.event = unsafe .alias(string(event.data.alias.anchor) ?? "")
    case YAML_SCALAR_EVENT:
      // Safety: `value` points to `length` bytes.
      let scalar = unsafe event.data.scalar
      let value = unsafe UnsafeBufferPointer(start: scalar.value, count: scalar.length)
      let plain = unsafe scalar.style == YAML_PLAIN_SCALAR_STYLE
      item.event = unsafe .scalar(String(decoding: value, as: UTF8.self), plain: plain)
      let lastLine = unsafe saturating(event.end_mark.line)
      let isQuoted = unsafe [YAML_SINGLE_QUOTED_SCALAR_STYLE, YAML_DOUBLE_QUOTED_SCALAR_STYLE]
        .contains(scalar.style)
      if isQuoted, lastLine > item.line { quotedText = (item.line, item.column, lastLine) }
      item.anchor = unsafe string(scalar.anchor)
      item.tag = unsafe string(scalar.tag)
    case YAML_SEQUENCE_START_EVENT:
      item.event = .sequenceStart
      item.anchor = unsafe string(event.data.sequence_start.anchor)
      item.tag = unsafe string(event.data.sequence_start.tag)
    case YAML_SEQUENCE_END_EVENT: item.event = .sequenceEnd
    case YAML_MAPPING_START_EVENT:
      item.event = .mappingStart
      item.anchor = unsafe string(event.data.mapping_start.anchor)
      item.tag = unsafe string(event.data.mapping_start.tag)
    case YAML_MAPPING_END_EVENT: item.event = .mappingEnd
    default: item.event = .streamEnd
    }
    return item
  }

  private func problem() -> YAMLProblem {
    // Safety: the parser's error fields are plain values and static C strings.
    // Where a quoted text began says more than where the file ends.
    let context = unsafe string(parser.pointee.context) ?? ""
    let isUnclosed = context == "while scanning a quoted scalar"
    let mark = unsafe isUnclosed ? parser.pointee.context_mark : parser.pointee.problem_mark
    var problem = unsafe YAMLProblem(
      message: string(parser.pointee.problem) ?? "not enough memory",
      context: context,
      line: saturating(mark.line), column: saturating(mark.column))
    if let quotedText, quotedText.lastLine == problem.line, !isUnclosed {
      problem.quotedText = (quotedText.line, quotedText.column)
    }
    let start = unsafe parser.pointee.context_mark
    let isInBrackets = context.hasPrefix("while parsing a flow ")
    if isInBrackets, saturating(start.line) < problem.line {
      problem.brackets = (saturating(start.line), saturating(start.column))
    }
    if unsafe parser.pointee.error == YAML_READER_ERROR {
      problem.byteOffset = unsafe parser.pointee.problem_offset
    }
    return problem
  }

  /// libyaml counts from 0.
  private func saturating(_ count: Int) -> Int { count == .max ? count : count + 1 }

  private func string(_ text: UnsafePointer<CChar>?) -> String? {
    // Safety: NUL-terminated or nil, as libyaml hands it out.
    unsafe text.map { unsafe String(cString: $0) }
  }

  private func string(_ text: UnsafeMutablePointer<yaml_char_t>?) -> String? {
    // Safety: NUL-terminated or nil, as libyaml hands it out.
    unsafe text.map { unsafe String(cString: $0) }
  }
}

/// libyaml as loaded, which need not be the one this was built with.
public enum YAMLVersion {
  public static var runtime: String {
    // Safety: a static text of the library's.
    unsafe yaml_get_version_string().map { unsafe String(cString: $0) } ?? ""
  }
}
