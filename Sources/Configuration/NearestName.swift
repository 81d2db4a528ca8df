// The known word that one which is not known probably stands for.

enum NearestName {
  /// What `word` is a habit for, or the closest of `known`.
  static func of(_ word: String, among known: [String]) -> String? {
    Habits.name(for: word, among: known) ?? spelled(word, among: known)
  }

  /// The closest of `known` when it is close enough to be a slip of the finger: at most a third of
  /// the letters differ. Case counts nothing.
  static func spelled(_ word: String, among known: [String]) -> String? {
    // Longer than any key, and the cost is quadratic. Numbers are rarely slips of each other.
    guard word.utf8.count <= 64, word.first?.isLetter == true else { return nil }
    let letters = Array(word.lowercased().unicodeScalars)
    let distanceMax = min(max(letters.count, 3) / 3, letters.count - 1)
    var best: (name: String, distance: Int)?
    for name in known {
      let other = Array(name.lowercased().unicodeScalars)
      guard abs(other.count - letters.count) <= distanceMax else { continue }
      let distance = distance(letters, other)
      if distance <= best.map({ $0.distance - 1 }) ?? distanceMax { best = (name, distance) }
    }
    return best?.name
  }

  /// `; did you mean "x"?`, or nothing.
  static func hint(for word: String, among known: [String]) -> String {
    of(word, among: known).map { "; did you mean \(quoted($0))?" } ?? ""
  }

  /// Insertions, deletions, replacements and swaps of neighbours (optimal string alignment).
  private static func distance(_ a: [Unicode.Scalar], _ b: [Unicode.Scalar]) -> Int {
    var beforePrevious: [Int] = []
    var previous = Array(0...b.count)
    for i in a.indices {
      var current = [i + 1]
      for j in b.indices {
        let replaced = previous[j] + (a[i] == b[j] ? 0 : 1)
        var least = min(replaced, previous[j + 1] + 1, current[j] + 1)
        if i > 0, j > 0, a[i] == b[j - 1], a[i - 1] == b[j] {
          least = min(least, beforePrevious[j - 1] + 1)
        }
        current.append(least)
      }
      (beforePrevious, previous) = (previous, current)
    }
    return previous.last ?? a.count
  }
}
