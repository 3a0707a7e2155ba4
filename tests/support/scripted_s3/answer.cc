#include "tests/support/scripted_s3/answer.hh"

#include "tests/support/scripted_s3/text.hh"

namespace bts3::testing {

using scripted::lower;

void server_answer::set(const std::string& name, std::string value) {
  for (auto& [key, old] : headers) {
    if (lower(key) == lower(name)) {
      old = std::move(value);
      return;
    }
  }
  headers.emplace_back(name, std::move(value));
}

void server_answer::erase(std::string_view name) {
  std::erase_if(headers,
                [&](const auto& field) { return lower(field.first) == lower(std::string(name)); });
}

namespace scripted {

namespace {

std::string error_document(const std::string& code, const server_headers& headers,
                           const std::string& message) {
  std::string content =
      element("Code", code) + element("Message", message.empty() ? "scripted: " + code : message);
  for (const auto& [name, value] : headers) {
    if (lower(name) == "x-amz-bucket-region") {
      content += element("Region", value);
    }
  }
  content += element("RequestId", "4442587FB7D0A2F9") + element("HostId", "scripted");
  return std::string(xml_declaration) + "<Error>" + content + "</Error>";
}

}  // namespace

server_answer failure(int status, const std::string& code, server_headers headers,
                      const std::string& message) {
  server_answer answer;
  answer.status = status;
  answer.body = error_document(code, headers, message);
  answer.headers = std::move(headers);
  answer.set("Content-Type", "application/xml");
  return answer;
}

server_answer success(std::string body) {
  server_answer answer;
  answer.set("Content-Type", "application/xml");
  answer.body = std::move(body);
  return answer;
}

}  // namespace scripted

}  // namespace bts3::testing
