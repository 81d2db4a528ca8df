// Whom the process becomes, as it is written: NAME or a number, and a group behind a colon. What these
// stand for on this machine the start finds out.

public struct UserSettings: Sendable, Equatable {
  public var name: String
  /// Nil: the user's own.
  public var group: String?
  public var location = SourceLocation()

  public init(name: String, group: String?) {
    self.name = name
    self.group = group
  }
}

extension ConfigValue<UserSettings> {
  static let user = located(
    "the name or number of a user", form: "USER or USER:GROUP",
    schema: .text("[^\\s/:]+(?::[^\\s/:]+)?", orNumber: true),
    show: { user in user.group.map { "\(user.name):\($0)" } ?? user.name }
  ) { (text, place) throws(Complaint) in
    let parts = text.split(separator: ":", omittingEmptySubsequences: false).map(String.init)
    guard parts.count <= 2, parts.allSatisfy(isName) else {
      throw Complaint(text, isNot: "the name or number of a user, such as bascule or 10001:10001")
    }
    if parts[0] == "root" || UInt32(parts[0]) == 0 {
      throw Complaint(
        "the gateway does not become root: name another user, or leave this key out")
    }
    var user = UserSettings(name: parts[0], group: parts.count == 2 ? parts[1] : nil)
    user.location = place
    return user
  }

  private static func isName(_ text: String) -> Bool {
    !text.isEmpty && text.utf8.count <= 256
      && text.utf8.allSatisfy { $0 > 0x20 && $0 < 0x7F && $0 != UInt8(ascii: "/") }
  }
}
