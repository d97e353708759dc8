package lifecycle

import (
	"encoding/json"
	"unicode/utf8"
)

// rawText is a string that keeps its bytes in JSON, whatever they are: file names, arguments and variables need not be
// UTF-8. What is not is an array with the bytes in base64.
type rawText string

// MarshalJSON encodes the text.
func (t rawText) MarshalJSON() ([]byte, error) {
	if utf8.ValidString(string(t)) {
		return json.Marshal(string(t))
	}
	return json.Marshal([][]byte{[]byte(t)})
}

// UnmarshalJSON decodes what MarshalJSON has encoded.
func (t *rawText) UnmarshalJSON(data []byte) error {
	if len(data) > 0 && data[0] == '[' {
		var raw [1][]byte
		err := json.Unmarshal(data, &raw)
		*t = rawText(raw[0])
		return err
	}
	return json.Unmarshal(data, (*string)(t))
}

func rawTexts(list []string) []rawText {
	var texts []rawText
	for _, s := range list {
		texts = append(texts, rawText(s))
	}
	return texts
}

func plainTexts(texts []rawText) []string {
	list := []string{} // not nil, which for an environment means another
	for _, t := range texts {
		list = append(list, string(t))
	}
	return list
}
