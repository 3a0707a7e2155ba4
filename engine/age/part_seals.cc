#include "engine/age/part_seals.hh"

#include "engine/age/fault.hh"
#include "engine/age/plain_fingerprint.hh"
#include "engine/assert.hh"

#include <utility>

namespace bts3::age {

namespace {

class one_part final : public engine::part_seal {
 public:
  explicit one_part(part_in_sealing part) : _part(std::move(part)) {}

  engine::result<void> write_head(std::span<std::byte> to) override {
    BTS3_ASSERT(to.size() == part_segments_at);
    return _part.write_header(to.first<part_segments_at>());
  }
  engine::result<void> begin_segment(bool last) override { return _part.begin_segment(last); }
  engine::result<void> seal(std::span<std::byte> bytes) override { return _part.update(bytes); }
  engine::result<void> end_segment(std::span<std::byte> tag) override {
    BTS3_ASSERT(tag.size() == tag_bytes);
    return _part.end_segment(tag.first<tag_bytes>());
  }

 private:
  part_in_sealing _part;
};

class one_fingerprint final : public engine::text_fingerprint {
 public:
  explicit one_fingerprint(plain_fingerprint made) : _made(std::move(made)) {}

  engine::result<void> update(std::span<const std::byte> plain) override {
    return _made.update(plain);
  }
  engine::result<std::string> finish() override {
    const auto recorded = _made.finish();
    if (!recorded) {
      return recorded.error();
    }
    return recorded->text();
  }

 private:
  plain_fingerprint _made;
};

engine::result<std::unique_ptr<engine::text_fingerprint>> wrapped(
    engine::result<plain_fingerprint> made) {
  if (!made) {
    return std::move(made.error());
  }
  return std::unique_ptr<engine::text_fingerprint>(
      std::make_unique<one_fingerprint>(std::move(*made)));
}

}  // namespace

engine::result<std::unique_ptr<engine::part_seal>> part_seals::begin(std::uint32_t chunk,
                                                                     std::uint32_t part,
                                                                     std::uint64_t plain_offset) {
  auto begun = _sealer.begin(chunk, part, plain_offset);
  if (!begun) {
    return std::move(begun.error());
  }
  return std::unique_ptr<engine::part_seal>(std::make_unique<one_part>(std::move(*begun)));
}

engine::result<std::unique_ptr<engine::text_fingerprint>> part_seals::fingerprint() {
  if (!_fingerprints) {
    return std::unique_ptr<engine::text_fingerprint>();
  }
  return wrapped(plain_fingerprint::fresh(_random));
}

engine::result<std::unique_ptr<engine::text_fingerprint>> part_seals::fingerprint_like(
    const std::string& recorded) {
  const auto known = recorded_fingerprint::parse(recorded);
  if (!known) {
    return make_error(fault::key, "what is recorded of a part is no fingerprint");
  }
  return wrapped(plain_fingerprint::like(*known));
}

engine::result<part_in_slot> part_in_slot::begin(const part_opener& with, std::span<std::byte> part,
                                                 const part_place& expected) {
  const std::span<const std::byte> all = part;
  auto opening =
      with.begin(all.first(std::min(all.size(), part_segments_at)), all.size(), expected);
  if (!opening) {
    return std::move(opening.error());
  }
  return part_in_slot(std::move(*opening), part);
}

engine::result<void> part_in_slot::open_one() {
  const auto [from, size] = _opening.range_of(_opened);
  auto text = _opening.open(_part.subspan(from, size), _opened);
  if (!text) {
    return std::move(text.error());
  }
  ++_opened;
  return engine::ok();
}

engine::result<void> part_in_slot::open_all() {
  while (_opened < _opening.segments()) {
    if (auto opened = open_one(); !opened) {
      return opened;
    }
  }
  return engine::ok();
}

engine::result<std::span<std::byte>> part_in_slot::next() {
  if (_given == _opening.segments()) {
    return std::span<std::byte>();
  }
  if (_opened == _given) {
    if (auto opened = open_one(); !opened) {
      return std::move(opened.error());
    }
  }
  const auto [from, size] = _opening.range_of(_given);
  ++_given;
  return _part.subspan(from, size - tag_bytes);
}

}  // namespace bts3::age
