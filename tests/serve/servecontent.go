// Prints how Go's http.ServeContent, which distribution and many registries answer blobs with, treats Range headers:
//
//	go run tests/serve/servecontent.go > tests/serve/servecontent.json
//
// The blob of `size` bytes holds i % 251 at offset i. A boundary is printed as BOUNDARY; its 60 characters still count in
// `length`.
package main

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"time"
)

type answer struct {
	Size         int    `json:"size"`
	Range        string `json:"range"`
	Status       int    `json:"status"`
	ContentRange string `json:"content_range"`
	ContentType  string `json:"content_type"`
	Length       int    `json:"length"`
	Body         string `json:"body"`
}

func ask(size int, header string) answer {
	blob := make([]byte, size)
	for i := range blob {
		blob[i] = byte(i % 251)
	}
	request := httptest.NewRequest("GET", "/", nil)
	request.Header.Set("Range", header)
	recorder := httptest.NewRecorder()
	recorder.Header().Set("Content-Type", "application/octet-stream")
	http.ServeContent(recorder, request, "", time.Time{}, bytes.NewReader(blob))
	body, kind := recorder.Body.Bytes(), recorder.Header().Get("Content-Type")
	length := len(body)
	if _, boundary, ok := strings.Cut(kind, "boundary="); ok {
		kind = strings.ReplaceAll(kind, boundary, "BOUNDARY")
		body = bytes.ReplaceAll(body, []byte(boundary), []byte("BOUNDARY"))
	}
	if recorder.Code == http.StatusRequestedRangeNotSatisfiable {
		body, kind, length = nil, "", 0 // prose
	}
	return answer{size, header, recorder.Code, recorder.Header().Get("Content-Range"), kind, length,
		base64.StdEncoding.EncodeToString(body)}
}

func main() {
	headers := []string{
		"bytes=0-0", "bytes=0-9", "bytes=10-19", "bytes=99-99", "bytes=90-", "bytes=0-", "bytes=0-99", "bytes=0-100",
		"bytes=95-2000", "bytes=-1", "bytes=-100", "bytes=-500", "bytes= 5 - 9 ", "bytes=\t5-9",
		"bytes=100-", "bytes=100-200", "bytes=100-5", "bytes=7-6", "bytes=-", "bytes=--5", "bytes=5", "bytes=a-b",
		"bytes=1-b", "bytes=0x1-5", "bytes=1-2-3", "bytes", "bytes=", "bytes=,", "bytes=,,3-4,", "Bytes=0-1", "bytes =0-1", "items=0-1",
		"chars=0-1", "bytes=0-99999999999999999999", "bytes=99999999999999999999-", "bytes=-99999999999999999999",
		"bytes=0-9223372036854775807", "bytes=9223372036854775807-9223372036854775807", "bytes=0-18446744073709551615",
		"bytes=0-0,2-2", "bytes=0-0, 2-2", "bytes=5-9,0-4", "bytes=0-4,5-9", "bytes=0-9,5-14", "bytes=0-0,0-0,0-0",
		"bytes=0-1,-2", "bytes=0-1,98-", "bytes=0-1,100-101", "bytes=100-101,200-", "bytes=200-,0-1,300-,4-5",
		"bytes=0-1,x", "bytes=0-1,7-6", "bytes=0-1,200-5", "bytes=0-1,5-", "bytes=0-49,50-99", "bytes=0-49,49-99", "bytes=0-,0-0",
		"bytes=-50,0-50", "bytes=-50,0-49", "bytes=1-1,3-3,5-5,7-7,9-9,11-11,13-13,15-15,17-17,19-19,21-21,23-23,25-25,27-27,29-29,31-31,33-33",
		"bytes=-0", "bytes=-0,0-1", "bytes=-0,100-", "bytes=+5-9", "bytes=5-+9",
	}
	var answers []answer
	for _, header := range headers {
		answers = append(answers, ask(100, header))
	}
	for _, header := range []string{"bytes=0-0", "bytes=0-", "bytes=-1", "bytes=x", "bytes=0-0,1-1", "bytes=5-"} {
		answers = append(answers, ask(0, header))
	}
	for _, header := range []string{"bytes=0-0", "bytes=-1", "bytes=1-", "bytes=0-0,0-0"} {
		answers = append(answers, ask(1, header))
	}
	fmt.Println("[")
	for i, a := range answers {
		line, _ := json.Marshal(a)
		comma := ","
		if i == len(answers)-1 {
			comma = ""
		}
		fmt.Printf("%s%s\n", line, comma)
	}
	fmt.Println("]")
}
