-- S3's verbs for a sink: small objects are kept, of others only the size, of uploads the sizes of their parts.
-- Shared: objects[path] = body, sizes[path] = bytes, uploads["id"] = path, uploads["id/part"] = bytes.
local KEPT_BYTES_MAX = 16 * 1024 * 1024
-- With a dash, as of multipart objects: nobody takes it for an MD5.
local ETAG = '"0123456789abcdef0123456789abcdef-1"'
local objects, sizes, uploads = ngx.shared.objects, ngx.shared.sizes, ngx.shared.uploads
local args, method, path = ngx.req.get_uri_args(), ngx.req.get_method(), ngx.var.uri
local headers = ngx.req.get_headers(200)
local length = tonumber(headers["x-amz-decoded-content-length"] or headers["content-length"] or 0)

local function xml(root, content)
  ngx.header["Content-Type"] = "application/xml"
  local body = '<?xml version="1.0" encoding="UTF-8"?><' .. root .. ' xmlns="http://s3.amazonaws.com/doc/2006-03-01/">' ..
      content .. "</" .. root .. ">"
  ngx.header["Content-Length"] = #body
  ngx.print(body)
end

local function empty(status)
  ngx.status = status
  ngx.header["Content-Length"] = 0
  ngx.send_headers()
end

local function set(dict, key, value)
  local done, problem = dict:safe_set(key, value)
  if not done then
    ngx.log(ngx.ERR, "the sink has no room for ", key, ": ", problem)
    ngx.exit(507)
  end
end

-- Sorted {part, bytes} of an upload.
local function parts_of(id)
  local parts, prefix = {}, id .. "/"
  for _, key in ipairs(uploads:get_keys(0)) do
    if key:sub(1, #prefix) == prefix then
      parts[#parts + 1] = {tonumber(key:sub(#prefix + 1)), uploads:get(key)}
    end
  end
  table.sort(parts, function(a, b) return a[1] < b[1] end)
  return parts
end

local function forget(id)
  for _, part in ipairs(parts_of(id)) do uploads:delete(id .. "/" .. part[1]) end
  uploads:delete(id)
end

local function read_body()
  ngx.req.read_body()
  local body = ngx.req.get_body_data()
  local file = not body and ngx.req.get_body_file()
  if file then
    local handle = assert(io.open(file, "rb"))
    body = handle:read("*a")
    handle:close()
  end
  body = body or ""
  -- Signed in pieces (aws-chunked): "SIZE;chunk-signature=...", the bytes, and so on until size 0.
  if (headers["x-amz-content-sha256"] or ""):find("^STREAMING") then
    local plain, at = {}, 1
    while true do
      local first, last, size = body:find("^(%x+)[^\r]*\r\n", at)
      if not first or tonumber(size, 16) == 0 then break end
      plain[#plain + 1] = body:sub(last + 1, last + tonumber(size, 16))
      at = last + tonumber(size, 16) + 3
    end
    return table.concat(plain)
  end
  return body
end

local function put()
  -- nginx would answer a condition by what it takes for a download: 304.
  ngx.req.clear_header("If-None-Match")
  ngx.req.clear_header("If-Match")
  ngx.header["ETag"] = ETAG
  ngx.header["x-amz-server-side-encryption"] = headers["x-amz-server-side-encryption"]
  if args.uploadId then
    if ngx.var.careful == "yes" then ngx.req.read_body() else ngx.req.discard_body() end
    if not uploads:get(args.uploadId) then return empty(404) end
    set(uploads, args.uploadId .. "/" .. args.partNumber, length)
    return empty(200)
  end
  if length <= KEPT_BYTES_MAX and (path:find("%.json$") or length <= 65536) then
    set(objects, path, read_body())
  else
    ngx.req.discard_body()
    objects:delete(path)
  end
  set(sizes, path, length)
  empty(200)
end

local function post()
  if args.uploads then
    ngx.req.discard_body()
    local id = string.format("u%d", uploads:incr("next", 1, 0))
    set(uploads, id, path)
    return xml("InitiateMultipartUploadResult", "<Bucket>b</Bucket><Key>k</Key><UploadId>" .. id .. "</UploadId>")
  end
  ngx.req.discard_body()
  local total = 0
  for _, part in ipairs(parts_of(args.uploadId)) do total = total + part[2] end
  objects:delete(path)
  set(sizes, path, total)
  forget(args.uploadId)
  xml("CompleteMultipartUploadResult", "<Location>x</Location><Bucket>b</Bucket><Key>k</Key><ETag>" ..
      ETAG:gsub('"', "&quot;") .. "</ETag>")
end

-- Keys below the bucket that is the path's first name.
local function list()
  local bucket = path:match("^/([^/]+)")
  local start, found = "/" .. bucket .. "/" .. (args.prefix or ""), {}
  for _, key in ipairs(sizes:get_keys(0)) do
    if key:sub(1, #start) == start then found[#found + 1] = key end
  end
  table.sort(found)
  local text = {"<Name>", bucket, "</Name><IsTruncated>false</IsTruncated><KeyCount>", #found, "</KeyCount>"}
  for _, key in ipairs(found) do
    text[#text + 1] = "<Contents><Key>" .. key:sub(#bucket + 3) .. "</Key><LastModified>2026-01-01T00:00:00.000Z" ..
        "</LastModified><ETag>" .. ETAG:gsub('"', "&quot;") .. "</ETag><Size>" .. string.format("%.0f", sizes:get(key)) ..
        "</Size><StorageClass>STANDARD</StorageClass></Contents>"
  end
  xml("ListBucketResult", table.concat(text))
end

local function list_uploads()
  local text, bucket = "", path:match("^(/[^/]+)") .. "/"
  local start = bucket .. (args.prefix or "")
  for _, id in ipairs(uploads:get_keys(0)) do
    if id:find("^u%d+$") and uploads:get(id):sub(1, #start) == start then
      text = text .. "<Upload><Key>" .. uploads:get(id):sub(#bucket + 1) .. "</Key><UploadId>" .. id .. "</UploadId></Upload>"
    end
  end
  xml("ListMultipartUploadsResult", "<IsTruncated>false</IsTruncated>" .. text)
end

local function list_parts()
  if not uploads:get(args.uploadId) then return empty(404) end
  local text = ""
  for _, part in ipairs(parts_of(args.uploadId)) do
    text = text .. string.format("<Part><PartNumber>%d</PartNumber><ETag>%s</ETag><Size>%.0f</Size></Part>", part[1],
        (ETAG:gsub('"', "&quot;")), part[2])
  end
  xml("ListPartsResult", "<IsTruncated>false</IsTruncated>" .. text)
end

local function get()
  if args.uploads then return list_uploads() end
  if args["list-type"] or args.prefix then return list() end
  if args.uploadId then return list_parts() end
  if args.location then return xml("LocationConstraint", "") end
  local body, size = objects:get(path), sizes:get(path)
  if not size and path:find("^/[^/]+/?$") then return method == "HEAD" and empty(200) or list() end
  if not size then return ngx.exec("@files") end
  ngx.header["ETag"] = ETAG
  ngx.header["Last-Modified"] = "Thu, 01 Jan 2026 00:00:00 GMT"
  if method == "HEAD" then
    ngx.header["Content-Length"] = string.format("%.0f", size)
    return ngx.send_headers()
  end
  if not body then return empty(500) end
  local first, last = (ngx.var.http_range or ""):match("^bytes=(%d+)-(%d+)$")
  if first and tonumber(first) < #body then
    last = math.min(tonumber(last), #body - 1)
    ngx.status = 206
    ngx.header["Content-Range"] = "bytes " .. first .. "-" .. last .. "/" .. #body
    body = body:sub(first + 1, last + 1)
  end
  ngx.header["Content-Length"] = #body
  ngx.print(body)
end

local function delete()
  ngx.req.discard_body()
  if args.uploadId then
    forget(args.uploadId)
  else
    objects:delete(path)
    sizes:delete(path)
  end
  ngx.status = 204
end

if method == "PUT" then put()
elseif method == "POST" then post()
elseif method == "DELETE" then delete()
else get() end
