#include "btrfs/index/application.hh"

#include "engine/assert.hh"

#include <sys/stat.h>
#include <sys/sysmacros.h>

#include <algorithm>
#include <cstring>
#include <utility>

namespace bts3::btrfs::index {

namespace {

using namespace send_format;

// BTRFS_LINK_MAX.
constexpr std::uint64_t links_max = 65535;
constexpr std::uint32_t mode_mask = 07777;
// Beside what a stream holds, so many directories are remembered by their paths.
constexpr std::size_t directories_max = 65536;

// A path for a message.
std::string quoted(std::string_view path) {
  std::string text = "\"" + std::string(path.empty() ? "." : path) + "\"";
  for (char& c : text) {
    const auto byte = static_cast<unsigned char>(c);
    c = byte < 0x20 || byte == 0x7f ? '?' : c;
  }
  return text;
}

std::string missing(std::string_view path) {
  return "there is no " + quoted(path);
}

std::string_view parent_of(std::string_view path) {
  const std::size_t slash = path.rfind('/');
  return slash == std::string_view::npos ? std::string_view() : path.substr(0, slash);
}

std::string_view name_of(std::string_view path) {
  const std::size_t slash = path.rfind('/');
  return slash == std::string_view::npos ? path : path.substr(slash + 1);
}

node_time time_in(const record& one, unsigned attribute) {
  return {static_cast<std::int64_t>(one.value(attribute)), one.nanoseconds[attribute]};
}

uuid uuid_in(std::string_view raw) {
  std::uint8_t bytes[uuid_bytes] = {};
  std::memcpy(bytes, raw.data(), std::min(raw.size(), sizeof bytes));
  return uuid(bytes);
}

bool every(const record& one) {
  for (const field& what : fields_of(one.type)) {
    const bool optional = what.attribute == attribute_otime ||
                          what.attribute == attribute_compression ||
                          what.attribute == attribute_encryption;
    // The kernel sends these, and receive asks for none of them.
    const bool unasked = one.type != command_mknod &&
                         (what.attribute == attribute_rdev ||
                          (what.attribute == attribute_mode && one.type != command_chmod));
    if (!optional && !unasked && !one.with(what.attribute)) {
      return false;
    }
  }
  return true;
}

node_type type_of(const record& one) {
  switch (one.type) {
    case command_mkfile:
      return node_type::file;
    case command_mkdir:
      return node_type::directory;
    case command_mkfifo:
      return node_type::fifo;
    case command_mksock:
      return node_type::socket;
    case command_symlink:
      return node_type::symlink;
    default:
      break;
  }
  switch (one.value(attribute_mode) & S_IFMT) {
    case S_IFCHR:
      return node_type::character_device;
    case S_IFBLK:
      return node_type::block_device;
    case S_IFIFO:
      return node_type::fifo;
    case S_IFSOCK:
      return node_type::socket;
    case S_IFREG:
    case 0:
      return node_type::file;
    default:
      return node_type::gone;
  }
}

std::uint32_t first_mode(node_type type) {
  switch (type) {
    case node_type::directory:
      return 0700;
    case node_type::symlink:
      return 0777;
    case node_type::character_device:
    case node_type::block_device:
      return 0;
    default:
      return 0600;
  }
}

}  // namespace

application::application(work_tree& tree, application_settings settings)
    : _tree(tree), _settings(std::move(settings)) {}

void application::forget_paths(bool of_directories) {
  _last_path.clear();
  _last = no_node;
  if (of_directories) {
    _directories.clear();
  }
}

node_id application::directory(std::string_view path, std::string& problem) {
  if (path.empty()) {
    return root_node;
  }
  std::string key(path);
  if (const auto known = _directories.find(key); known != _directories.end()) {
    return known->second;
  }
  const node_id parent = directory(parent_of(path), problem);
  if (parent == no_node) {
    return no_node;
  }
  const node_id found = _tree.lookup(parent, name_of(path));
  const node* const at = found == no_node ? nullptr : _tree.find(found);
  if (at == nullptr) {
    problem = missing(path);
    return no_node;
  }
  if (at->type != node_type::directory) {
    problem =
        quoted(path) + (at->type == node_type::symlink ? " is a symbolic link, and leads elsewhere"
                                                       : " is not a directory");
    return no_node;
  }
  if (_directories.size() >= directories_max) {
    _directories.clear();
  }
  _directories.emplace(std::move(key), found);
  return found;
}

application::place application::locate(std::string_view path) {
  place at;
  if (path.empty()) {
    at.found = root_node;
    return at;
  }
  at.name = name_of(path);
  at.dir = directory(parent_of(path), at.problem);
  if (at.dir != no_node) {
    at.found = _tree.lookup(at.dir, at.name);
  }
  return at;
}

application::place application::locate_existing(std::string_view path) {
  place at = locate(path);
  if (at.problem.empty() && at.found == no_node) {
    at.problem = missing(path);
  }
  return at;
}

node_id application::existing(std::string_view path, std::string& problem) {
  if (_last != no_node && path == _last_path) {
    return _last;
  }
  place at = locate_existing(path);
  problem = std::move(at.problem);
  _last_path = path;
  _last = at.found;
  return at.found;
}

std::string application::apply(const record& one) {
  if (_identity.name.empty() != (one.type == command_subvol || one.type == command_snapshot)) {
    return _identity.name.empty() ? "it comes before the subvolume that it is about"
                                  : "a second subvolume begins";
  }
  if (!every(one)) {
    return "it lacks an attribute";
  }
  switch (one.type) {
    case command_subvol:
    case command_snapshot:
      return begin(one);
    case command_mkfile:
    case command_mkdir:
    case command_mknod:
    case command_mkfifo:
    case command_mksock:
    case command_symlink:
      return make(one);
    case command_rename:
      return rename(one);
    case command_link:
      return link(one);
    case command_unlink:
      return unlink(one);
    case command_rmdir:
      return rmdir(one);
    case command_chmod:
      return change_mode(one);
    case command_chown:
    case command_utimes:
    case command_fileattr:
    case command_enable_verity:
      return change_attributes(one);
    case command_set_xattr:
    case command_remove_xattr:
      return change_xattr(one);
    case command_write:
    case command_encoded_write:
    case command_clone:
    case command_truncate:
    case command_fallocate:
      return change_content(one);
    case command_update_extent:  // of a stream without data
      return extend(one);
    case command_end:
      return "";
    default:
      return "it is no command";
  }
}

std::string application::begin(const record& one) {
  link_identity made;
  made.name = one.text(attribute_path);
  made.sent = uuid_in(one.text(attribute_uuid));
  made.ctransid = one.value(attribute_ctransid);
  if (made.name.empty() || made.name.find('/') != std::string::npos) {
    return "the subvolume has no plain name";
  }
  if (one.type == command_subvol) {
    if (!_settings.before.empty()) {
      return "it is a full, and not the next link of this chain";
    }
    node& root = _tree.make(node_type::directory);
    BTS3_ASSERT(root.id == root_node);
    root.mode = 0755;
    root.links = 1;
    root.ino = 256;
  } else {
    const uuid parent = uuid_in(one.text(attribute_clone_uuid));
    if (_settings.before.empty() || _settings.before.back().sent != parent) {
      return "its parent is " + parent.text() + ", which is not the link before it";
    }
  }
  _identity = std::move(made);
  return "";
}

std::string application::make(const record& one) {
  const std::string_view path = one.text(attribute_path);
  place at = locate(path);
  if (!at.problem.empty()) {
    return at.problem;
  }
  const node_type type = type_of(one);
  if (type == node_type::gone) {
    return "nobody can make a node of that mode";
  }
  if (at.found != no_node) {
    const node* const there = _tree.find(at.found);
    if (one.type != command_mkfile || there == nullptr || there->type != node_type::file) {
      return quoted(path) + " is there already";
    }
    // creat(2) empties it.
    _tree.change(at.found)->size = 0;
    _tree.change_extents(at.found).cut(0, UINT64_MAX);
    return "";
  }
  if (at.dir == no_node) {
    return "the subvolume itself is there already";
  }
  node& made = _tree.make(type);
  made.mode = first_mode(type);
  made.links = 1;
  made.ino = one.value(attribute_ino);
  if (type == node_type::character_device || type == node_type::block_device) {
    made.rdev = one.value(attribute_rdev);
  }
  if (type == node_type::symlink) {
    made.target = one.text(attribute_path_link);
    made.size = made.target.size();
    if (made.target.empty() || made.target.find('\0') != std::string::npos) {
      return "a symbolic link leads nowhere";
    }
  }
  const node_id id = made.id;
  _tree.add_name(at.dir, at.name, id);
  _last_path = path;
  _last = id;
  return "";
}

void application::drop(node_id id) {
  node* const one = _tree.change(id);
  BTS3_ASSERT(one != nullptr);
  one->links -= std::min<std::uint64_t>(one->links, 1);
  if (one->links == 0 || one->type == node_type::directory) {
    _tree.remove(id);
  }
}

std::string application::rename(const record& one) {
  const std::string_view from_path = one.text(attribute_path);
  const std::string_view to_path = one.text(attribute_path_to);
  place from = locate_existing(from_path);
  if (!from.problem.empty()) {
    return from.problem;
  }
  place to = locate(to_path);
  if (!to.problem.empty()) {
    return to.problem;
  }
  if (from.dir == no_node || to.dir == no_node) {
    return "the subvolume itself cannot be renamed";
  }
  if (from.found == to.found) {
    return "";  // rename(2): both are names of one file, and nothing happens
  }
  const node* const moved = _tree.find(from.found);
  BTS3_ASSERT(moved != nullptr);
  const bool is_directory = moved->type == node_type::directory;
  if (is_directory && to_path.size() > from_path.size() && to_path.starts_with(from_path) &&
      to_path[from_path.size()] == '/') {
    return quoted(from_path) + " cannot be moved into itself";
  }
  if (to.found != no_node) {
    if (std::string problem = replace(from, to); !problem.empty()) {
      return quoted(to_path) + problem;
    }
  }
  _tree.remove_name(from.dir, from.name);
  _tree.add_name(to.dir, to.name, from.found);
  forget_paths(is_directory);
  _last_path = to_path;
  _last = from.found;
  return "";
}

// What is in the way of a rename goes, if it may; what is wrong, behind its name.
std::string application::replace(const place& from, const place& to) {
  const bool directory = _tree.find(from.found)->type == node_type::directory;
  const node* const there = _tree.find(to.found);
  BTS3_ASSERT(there != nullptr);
  if (directory && there->type != node_type::directory) {
    return " is there already, and not a directory";
  }
  if (!directory && there->type == node_type::directory) {
    return " is there already, a directory";
  }
  if (directory && _tree.has_names(to.found)) {
    return " is there already, and not empty";
  }
  _tree.remove_name(to.dir, to.name);
  drop(to.found);
  return "";
}

std::string application::link(const record& one) {
  const std::string_view path = one.text(attribute_path);
  const std::string_view target = one.text(attribute_path_link);
  std::string problem;
  const node_id file = existing(target, problem);
  if (!problem.empty()) {
    return problem;
  }
  place at = locate(path);
  if (!at.problem.empty()) {
    return at.problem;
  }
  if (at.found != no_node) {
    return quoted(path) + " is there already";
  }
  if (_tree.find(file)->type == node_type::directory) {
    return quoted(target) + " is a directory, which has one name";
  }
  if (_tree.find(file)->links >= links_max) {
    return quoted(target) + " has " + std::to_string(links_max) + " names, and cannot have more";
  }
  ++_tree.change(file)->links;
  _tree.add_name(at.dir, at.name, file);
  _last_path = path;
  _last = file;
  return "";
}

std::string application::unlink(const record& one) {
  const std::string_view path = one.text(attribute_path);
  place at = locate_existing(path);
  if (!at.problem.empty()) {
    return at.problem;
  }
  if (_tree.find(at.found)->type == node_type::directory) {
    return quoted(path) + " is a directory";
  }
  _tree.remove_name(at.dir, at.name);
  drop(at.found);
  forget_paths(false);
  return "";
}

std::string application::rmdir(const record& one) {
  const std::string_view path = one.text(attribute_path);
  place at = locate_existing(path);
  if (!at.problem.empty()) {
    return at.problem;
  }
  if (at.dir == no_node) {
    return "the subvolume itself cannot be removed";
  }
  if (_tree.find(at.found)->type != node_type::directory) {
    return quoted(path) + " is not a directory";
  }
  if (_tree.has_names(at.found)) {
    return quoted(path) + " is not empty";
  }
  _tree.remove_name(at.dir, at.name);
  drop(at.found);
  forget_paths(true);
  return "";
}

std::string application::change_mode(const record& one) {
  std::string problem;
  const node_id at = existing(one.text(attribute_path), problem);
  if (!problem.empty()) {
    return problem;
  }
  node* const changed = _tree.change(at);
  if (changed->type == node_type::symlink) {
    return quoted(one.text(attribute_path)) + " is a symbolic link, which has no mode";
  }
  changed->mode = static_cast<std::uint32_t>(one.value(attribute_mode)) & mode_mask;
  return "";
}

std::string application::change_attributes(const record& one) {
  std::string problem;
  const node_id at = existing(one.text(attribute_path), problem);
  if (!problem.empty()) {
    return problem;
  }
  node& changed = *_tree.change(at);
  if (one.type == command_chown) {
    changed.uid = static_cast<std::uint32_t>(one.value(attribute_uid));
    changed.gid = static_cast<std::uint32_t>(one.value(attribute_gid));
    if (changed.type != node_type::directory && changed.type != node_type::symlink) {
      // What chown(2) takes away.
      changed.mode &= ~std::uint32_t{S_ISUID};
      changed.mode &= (changed.mode & S_IXGRP) != 0 ? ~std::uint32_t{S_ISGID} : mode_mask;
      if (_tree.xattrs(at).contains("security.capability")) {
        _tree.change_xattrs(at).erase("security.capability");
      }
    }
  } else if (one.type == command_utimes) {
    changed.accessed = time_in(one, attribute_atime);
    changed.modified = time_in(one, attribute_mtime);
    changed.changed = time_in(one, attribute_ctime);
    if (one.with(attribute_otime)) {
      changed.made = time_in(one, attribute_otime);
    }
    constexpr std::uint32_t second = 1'000'000'000;
    if (changed.accessed.nanoseconds >= second || changed.modified.nanoseconds >= second) {
      return "a time has more than a second of nanoseconds";
    }
  } else if (one.type == command_fileattr) {
    changed.flags = one.value(attribute_fileattr);
  } else if (changed.type != node_type::file) {
    return quoted(one.text(attribute_path)) + " is not a file";
  }
  return "";
}

std::string application::change_xattr(const record& one) {
  std::string problem;
  const node_id at = existing(one.text(attribute_path), problem);
  if (!problem.empty()) {
    return problem;
  }
  const std::string_view name = one.text(attribute_xattr_name);
  const node_type type = _tree.find(at)->type;
  if (name.starts_with("user.") && type != node_type::file && type != node_type::directory) {
    return quoted(one.text(attribute_path)) + " can have no attributes of users";
  }
  if (one.type == command_set_xattr) {
    _tree.change_xattrs(at).insert_or_assign(std::string(name),
                                             std::string(one.text(attribute_xattr_data)));
    return "";
  }
  const auto found = _tree.xattrs(at).find(name);
  if (found == _tree.xattrs(at).end()) {
    return quoted(one.text(attribute_path)) + " has no attribute " + quoted(name);
  }
  _tree.change_xattrs(at).erase(std::string(name));
  return "";
}

}  // namespace bts3::btrfs::index
