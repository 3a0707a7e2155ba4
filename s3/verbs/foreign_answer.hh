// Whether an answer can be the store's at all. On the way to it stand proxies, captive portals and
// web servers that answer for it: with a page instead of an object, or with a 404 of their own.
// Such an answer says nothing about the bucket: it counts as if no answer had come.
//
// What tells them apart:
//
//   * headers that object stores send and web servers do not: x-amz-..., x-amzn-... (AWS, Ceph,
//     MinIO, Backblaze B2, Wasabi, moto), x-goog-... and x-guploader-... (Google), x-trans-id and
//     x-openstack-... (Swift), x-minio-.... Whoever sends one of them is believed in everything.
//   * HTML, by its type or its first bytes: no store speaks it, and no object of ours is of that
//     type.
//   * ETag, which every store sends with an object (GET, HEAD) and for one (PUT, UploadPart).
//   * XML, where a document was asked for, and <Error> with a code in every refusal that may have
//     a body. A refused HEAD has none: it is believed unless it speaks of HTML. (Garage and
//     Cloudflare R2 send none of the headers above with it.)
//
// 408 and 5xx are left alone, as they are repeated anyway, whoever says so; but for 429, 502, 503
// and 504 with HTML, which are a load balancer's and told as such, and 511. A redirect is the
// store's with one of its headers or its document: they name another region.
#pragma once

#include "engine/error.hh"
#include "s3/http/http_transport.hh"

#include <optional>
#include <string>
#include <string_view>

namespace bts3::s3 {

// What an answer 2xx to a request has to bring.
enum class answer_kind {
  object,    // an ETag: GET and HEAD of an object, PUT
  document,  // XML
  nothing,   // DELETE and the like
};

// Nullopt for what can be the store's; else what answered instead, for a message:
// "nginx/1.22.1 with 404, text/html: \"<html> <head>\"".
[[nodiscard]] std::optional<std::string> foreign_answer(const http_response& answer,
                                                        std::string_view method, answer_kind kind);

// What to make of it: who it probably is, by the answer's status, whether repeating can help, and
// what to do. `endpoint` is where the request went ("https://host:port"), `somebody` what
// foreign_answer() gave. The message has no subject yet.
[[nodiscard]] engine::error foreign_error(const http_response& answer, const std::string& endpoint,
                                          const std::string& somebody);

}  // namespace bts3::s3
